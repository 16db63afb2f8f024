# Everything we need from the distribution, found once.
# Targets: difftune::lua, difftune::sqlite, difftune::sodium, difftune::zstd,
# difftune::fiber;
# variable DIFFTUNE_CUDA_INCLUDE (empty: no CUDA headers, no cuda device).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(difftune_package target module header library hint)
  pkg_check_modules(PC_${target} QUIET ${module})
  find_path(${target}_INCLUDE ${header} HINTS ${PC_${target}_INCLUDE_DIRS})
  if(DIFFTUNE_STATIC)
    find_library(${target}_LIBRARY NAMES lib${library}.a HINTS ${PC_${target}_LIBRARY_DIRS})
  else()
    find_library(${target}_LIBRARY NAMES ${library} HINTS ${PC_${target}_LIBRARY_DIRS})
  endif()
  if(NOT ${target}_INCLUDE OR NOT ${target}_LIBRARY)
    message(FATAL_ERROR "difftune needs ${library}; install ${hint} "
                        "(scripts/quickstart and scripts/test do)")
  endif()
  add_library(difftune::${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(difftune::${target} SYSTEM INTERFACE ${${target}_INCLUDE})
  target_link_libraries(difftune::${target} INTERFACE ${${target}_LIBRARY})
endfunction()

difftune_package(lua lua5.4 lua.h lua5.4 liblua5.4-dev)
difftune_package(sqlite sqlite3 sqlite3.h sqlite3 libsqlite3-dev)
difftune_package(sodium libsodium sodium.h sodium libsodium-dev)
difftune_package(zstd libzstd zstd.h zstd libzstd-dev)
target_link_libraries(difftune::lua INTERFACE m ${CMAKE_DL_LIBS})
target_link_libraries(difftune::sqlite INTERFACE m ${CMAKE_DL_LIBS} Threads::Threads)

# boost.context: two assembly routines, always linked statically.
find_path(fiber_INCLUDE boost/context/detail/fcontext.hpp)
find_library(fiber_LIBRARY NAMES libboost_context.a)
if(NOT fiber_INCLUDE OR NOT fiber_LIBRARY)
  message(FATAL_ERROR "difftune needs boost.context; install libboost-context-dev")
endif()
add_library(difftune::fiber INTERFACE IMPORTED GLOBAL)
target_include_directories(difftune::fiber SYSTEM INTERFACE ${fiber_INCLUDE})
target_link_libraries(difftune::fiber INTERFACE ${fiber_LIBRARY})

find_path(DIFFTUNE_CUDA_INCLUDE cuda.h HINTS ENV CUDA_HOME
          PATHS /usr/local/cuda PATH_SUFFIXES include targets/x86_64-linux/include)
if(DIFFTUNE_CUDA_INCLUDE)
  message(STATUS "CUDA headers: ${DIFFTUNE_CUDA_INCLUDE}")
else()
  set(DIFFTUNE_CUDA_INCLUDE "")
  message(STATUS "CUDA headers: none; only the CPU device will exist")
endif()
