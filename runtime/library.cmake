# libdiffdispatch: dd_core, dd_library, and what the distribution adds to them.
#   dd_library                   its own objects; `difftune` and the tests link them
#   diffdispatch                 the shared library
#   diffdispatch_archive         the static one: a single relocatable object

# ---- The floor: a table made by a program of this build -----------------
find_library(DIFFTUNE_NVRTC NAMES nvrtc libnvrtc.so.13 libnvrtc.so.12
             HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
             PATH_SUFFIXES lib64 targets/x86_64-linux/lib)
set(DIFFTUNE_FLOOR sm_80 sm_86 sm_89 sm_90 sm_100 sm_120 CACHE STRING
    "What libdiffdispatch's defaults are compiled for")
if(DIFFTUNE_NVRTC)
  set(floor_targets ${DIFFTUNE_FLOOR})
  set(floor_environment DIFFTUNE_NVRTC=${DIFFTUNE_NVRTC})
  message(STATUS "NVRTC: ${DIFFTUNE_NVRTC}; libdiffdispatch's defaults: ${floor_targets}")
else()
  set(floor_targets "")
  set(floor_environment "")
  message(STATUS "NVRTC: none; libdiffdispatch's defaults: only for the CPU device")
endif()

set(floor_file ${CMAKE_CURRENT_BINARY_DIR}/floor.ddt)
file(GLOB_RECURSE floor_inputs CONFIGURE_DEPENDS
     ${PROJECT_SOURCE_DIR}/variants/*.lua ${PROJECT_SOURCE_DIR}/variants/*.cuh)
add_executable(dd_floor ${PROJECT_SOURCE_DIR}/generator/floor.c)
difftune_target(dd_floor)
target_link_libraries(dd_floor PRIVATE dd_generator dd_core)
add_custom_command(
  OUTPUT ${floor_file}
  COMMAND ${CMAKE_COMMAND} -E env ${floor_environment} $<TARGET_FILE:dd_floor>
          ${floor_file} ${PROJECT_SOURCE_DIR}/variants ${floor_targets}
  DEPENDS dd_floor ${floor_inputs}
  COMMENT "Compiling every op's default variant"
  VERBATIM)

# ---- Objects --------------------------------------------------------------
add_library(dd_library OBJECT context.c match.c pin.c plan.c special.c prepared.c entry.c
            typed.c tensors.c ops.c trace.c explain.c floor.c)
difftune_target(dd_library)
target_link_libraries(dd_library PUBLIC dd_core)
set_source_files_properties(floor.c PROPERTIES
  COMPILE_DEFINITIONS FLOOR_FILE="${floor_file}"
  OBJECT_DEPENDS ${floor_file})

# Nothing but the C library should be needed beside libdiffdispatch, so SHA-256
# and zstd come from archives where there are any.
set(archives "")      # what goes into the library
set(others "")        # what it needs beside it
set(archive_needs "") # the same, for pkg-config
foreach(package sodium zstd)
  find_library(${package}_ARCHIVE NAMES lib${package}.a)
  if(${package}_ARCHIVE)
    list(APPEND archives ${${package}_ARCHIVE})
  else()
    list(APPEND others ${${package}_LIBRARY})
    string(APPEND archive_needs " -l${package}")
  endif()
endforeach()

# ---- Shared ---------------------------------------------------------------
# The objects by name: a link to dd_core would bring its shared libraries.
set(export_map ${CMAKE_CURRENT_SOURCE_DIR}/diffdispatch.map)
add_library(diffdispatch SHARED
  $<TARGET_OBJECTS:dd_core> $<TARGET_OBJECTS:dd_library>)
difftune_target(diffdispatch)
target_include_directories(diffdispatch PUBLIC
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(diffdispatch PRIVATE
  ${archives} ${others} ${fiber_LIBRARY} Threads::Threads m ${CMAKE_DL_LIBS})
target_link_options(diffdispatch PRIVATE
  LINKER:--version-script=${export_map} LINKER:--exclude-libs,ALL
  LINKER:-z,relro,-z,now LINKER:--as-needed)
if(NOT DIFFTUNE_SANITIZE)
  target_link_options(diffdispatch PRIVATE LINKER:--no-undefined)
endif()
set_target_properties(diffdispatch PROPERTIES
  LINKER_LANGUAGE C VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${export_map})

# ---- Static ---------------------------------------------------------------
# Hidden symbols of an archive still meet those of the host; one object, whose
# symbols but dd_* were made local, has nothing to meet.
set(archive ${CMAKE_CURRENT_BINARY_DIR}/libdiffdispatch.a)
set(whole ${CMAKE_CURRENT_BINARY_DIR}/diffdispatch.o)
add_custom_command(
  OUTPUT ${archive}
  COMMAND ${CMAKE_LINKER} -r -o ${whole}
          $<TARGET_OBJECTS:dd_core> $<TARGET_OBJECTS:dd_library>
          ${fiber_LIBRARY} ${archives}
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden --wildcard
          --keep-global-symbol=dd_* ${whole}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
  COMMAND ${CMAKE_AR} crsD ${archive} ${whole}
  DEPENDS dd_core dd_library $<TARGET_OBJECTS:dd_core>
          $<TARGET_OBJECTS:dd_library>
  COMMENT "Linking ${archive}"
  COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(diffdispatch_archive ALL DEPENDS ${archive})

# ---- Installing ------------------------------------------------------------
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/diffdispatch)
include(CMakePackageConfigHelpers)
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/scripts/cmake/diffdispatchConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/diffdispatchConfig.cmake
  INSTALL_DESTINATION ${package_folder}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/diffdispatchConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/scripts/cmake/diffdispatch.pc.in
               ${CMAKE_CURRENT_BINARY_DIR}/diffdispatch.pc @ONLY)
install(TARGETS diffdispatch COMPONENT library)
install(FILES ${archive} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(FILES include/diffdispatch.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/diffdispatchConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/diffdispatchConfigVersion.cmake
        DESTINATION ${package_folder} COMPONENT library)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/diffdispatch.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
