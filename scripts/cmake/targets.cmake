# difftune_target(NAME): how every target of ours is compiled.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)           # _GNU_SOURCE interfaces of Linux
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

function(difftune_target name)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_compile_options(${name} PRIVATE
    -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -fno-strict-aliasing
    # snprintf into fixed texts cuts on purpose, and gcc cannot see that a status
    # that is not DD_OK returns
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation -Wno-maybe-uninitialized>
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
    $<$<BOOL:${DIFFTUNE_WERROR}>:-Werror>)
  if(DIFFTUNE_SANITIZE)
    target_compile_options(${name} PRIVATE
      -fsanitize=${DIFFTUNE_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=all)
    target_link_options(${name} PRIVATE -fsanitize=${DIFFTUNE_SANITIZE})
    # Clang's checks of calls in C++ want the C++ runtime in programs of C too.
    if(CMAKE_C_COMPILER_ID MATCHES Clang AND
       NOT DIFFTUNE_SANITIZE STREQUAL "thread")
      set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
    endif()
  endif()
endfunction()
