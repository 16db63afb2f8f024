/* embedded.h - files that the build put into the program as bytes. */
#ifndef DIFFTUNE_EMBEDDED_H
#define DIFFTUNE_EMBEDDED_H

struct embedded_file {
  const char *path, *text; /* text is followed by a NUL */
  unsigned long size;
};

extern const struct embedded_file embedded_variants[]; /* generator/tree.c */
extern const unsigned long embedded_variants_count;
extern const struct embedded_file embedded_shim[]; /* runtime/compiler.c */
extern const unsigned long embedded_shim_count;

#endif
