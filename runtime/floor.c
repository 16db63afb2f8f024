/*
 * floor.c - the floor table, as bytes inside the library.
 *
 * Made while building, by generator/floor.c; FLOOR_FILE names it.  The
 * assembler copies the file: a C array of 5 MB takes a compiler minutes.
 */
#include "internal.h"

/* clang-format off */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".globl floor_table\n"     ".hidden floor_table\n"
        ".globl floor_table_end\n" ".hidden floor_table_end\n"
        "floor_table:\n"     ".incbin \"" FLOOR_FILE "\"\n"
        "floor_table_end:\n" ".byte 0\n"
        ".popsection\n");
