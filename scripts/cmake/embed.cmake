# difftune_embed(OUT.c SYMBOL FILES...): the files as one C array of
# {path, text, size}, sorted by path.  Paths are written from the source root.
# Remakes OUT.c when a file changes.
function(difftune_embed out symbol)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${symbol}
            -DROOT=${PROJECT_SOURCE_DIR} "-DFILES=${ARGN}"
            -P ${PROJECT_SOURCE_DIR}/scripts/cmake/embed_files.cmake
    DEPENDS ${ARGN} ${PROJECT_SOURCE_DIR}/scripts/cmake/embed_files.cmake
    VERBATIM)
endfunction()
