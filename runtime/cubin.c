/*
 * cubin.c - what a cubin says about itself, without a GPU or a driver.
 *
 * A cubin is a 64-bit little-endian ELF file for machine 190, 5 to 100 kB,
 * with some 50 sections.  The facts come from three places:
 *
 *   .nv.info            records {format, attribute, payload}; REGCOUNT,
 *                       FRAME_SIZE and MIN_STACK_SIZE name their function by
 *                       its index in the symbol table
 *   .text.ENTRY         the registers again, in bits 24-31 of sh_info; zero
 *                       from sm_90 on
 *   .nv.shared.ENTRY    static shared memory; from sm_90 on its first 1024
 *                       bytes are the system's, and ptxas does not count them
 *
 * The bytes may come from a damaged file: every read goes through get() or a
 * section that section_get() has proven to lie inside.
 */
#include "cubin.h"

#include <elf.h>
#include <string.h>

#include "compiler.h"

enum {
  MACHINE_CUDA = 190,
  SYMBOL_IS_ENTRY = 0x10, /* of st_other: a kernel, not a device function */
  INFO_HAS_PAYLOAD = 4,
  INFO_FRAME_SIZE = 0x11,
  INFO_MIN_STACK_SIZE = 0x12,
  INFO_REGCOUNT = 0x2f,
  RESERVED_SHARED = 1024,
};

struct cubin {
  const uint8_t *data;
  size_t size;
  Elf64_Ehdr head;
  Elf64_Shdr names; /* of the sections */
};

static bool inside(const struct cubin *c, uint64_t at, uint64_t size)
{
  return at <= c->size && size <= c->size - at;
}

static bool get(const struct cubin *c, uint64_t at, void *out, size_t size)
{
  if (!inside(c, at, size)) return false;
  memcpy(out, c->data + at, size);
  return true;
}

/* Section `index`, its contents proven to lie inside the file. */
static bool section_get(const struct cubin *c, uint64_t index, Elf64_Shdr *out)
{
  if (index >= c->head.e_shnum) return false;
  if (!get(c, c->head.e_shoff + index * sizeof *out, out, sizeof *out))
    return false;
  return out->sh_type == SHT_NOBITS || inside(c, out->sh_offset, out->sh_size);
}

static bool segments_inside(const struct cubin *c)
{
  Elf64_Phdr segment;

  if (c->head.e_phnum && c->head.e_phentsize != sizeof segment) return false;
  for (uint64_t i = 0; i < c->head.e_phnum; i++) {
    if (!get(c, c->head.e_phoff + i * sizeof segment, &segment, sizeof segment))
      return false;
    if (!inside(c, segment.p_offset, segment.p_filesz)) return false;
  }
  return true;
}

/* A table that starts inside cannot wrap: 65535 entries are 4 MB. */
static bool tables_inside(const struct cubin *c)
{
  Elf64_Shdr section;

  if (c->head.e_shentsize != sizeof section || !c->head.e_shnum) return false;
  if (c->head.e_shoff > c->size || c->head.e_phoff > c->size) return false;
  for (uint64_t i = 0; i < c->head.e_shnum; i++)
    if (!section_get(c, i, &section)) return false;
  return segments_inside(c);
}

static bool cubin_read(struct cubin *c, const void *code, size_t size)
{
  static const uint8_t magic[] = {ELFMAG0, ELFMAG1,    ELFMAG2,
                                  ELFMAG3, ELFCLASS64, ELFDATA2LSB};

  c->data = code;
  c->size = size;
  if (!get(c, 0, &c->head, sizeof c->head)) return false;
  if (memcmp(c->head.e_ident, magic, sizeof magic)) return false;
  if (c->head.e_machine != MACHINE_CUDA || !tables_inside(c)) return false;
  return section_get(c, c->head.e_shstrndx, &c->names) &&
         c->names.sh_type == SHT_STRTAB;
}

dd_status cubin_check(const void *code, size_t size)
{
  struct cubin c;

  if (!code || !cubin_read(&c, code, size))
    return fail(DD_COMPILE, "the code (%zu bytes) is not a whole cubin", size);
  return DD_OK;
}

/* Whether the string at `at` of a string table is `prefix` then `name`. */
static bool name_is(const struct cubin *c, const Elf64_Shdr *strings,
                    uint64_t at, const char *prefix, const char *name)
{
  size_t before = strlen(prefix), rest = strlen(name) + 1;
  const uint8_t *text;

  if (strings->sh_type != SHT_STRTAB || at >= strings->sh_size) return false;
  if (strings->sh_size - at < before + rest) return false;
  text = c->data + strings->sh_offset + at;
  return !memcmp(text, prefix, before) && !memcmp(text + before, name, rest);
}

/* The index of a section, 0 where there is none. */
static uint32_t section_find(const struct cubin *c, const char *prefix,
                             const char *name, Elf64_Shdr *out)
{
  for (uint32_t i = 1; i < c->head.e_shnum; i++)
    if (section_get(c, i, out) &&
        name_is(c, &c->names, out->sh_name, prefix, name))
      return i;
  return 0;
}

/* The index of the kernel's symbol, 0 where there is none. */
static uint32_t entry_find(const struct cubin *c, const Elf64_Shdr *symbols,
                           uint32_t text, const char *entry)
{
  Elf64_Shdr strings;
  Elf64_Sym s;
  uint64_t count = symbols->sh_size / sizeof s;

  if (symbols->sh_type != SHT_SYMTAB) return 0;
  if (!section_get(c, symbols->sh_link, &strings)) return 0;
  for (uint32_t i = 1; i < count && i < UINT32_MAX; i++) {
    if (!get(c, symbols->sh_offset + i * sizeof s, &s, sizeof s)) return 0;
    if (s.st_shndx == text && (s.st_other & SYMBOL_IS_ENTRY) &&
        name_is(c, &strings, s.st_name, "", entry))
      return i;
  }
  return 0;
}

static int larger(int a, uint32_t b)
{
  return b <= INT32_MAX && (int)b > a ? (int)b : a;
}

/* One record: who it is about and how much. */
static void info_take(uint8_t attribute, uint32_t value, struct usage *u)
{
  if (attribute == INFO_REGCOUNT) u->registers = larger(0, value);
  if (attribute == INFO_FRAME_SIZE || attribute == INFO_MIN_STACK_SIZE)
    u->local_bytes = larger(u->local_bytes, value);
}

/* Walks .nv.info; false if a record does not end where the section does. */
static bool info_read(const struct cubin *c, const Elf64_Shdr *info,
                      uint32_t symbol, struct usage *u)
{
  uint64_t at = info->sh_offset, end = at + info->sh_size;
  uint8_t head[4];
  uint32_t pair[2];

  while (at < end) {
    if (end - at < sizeof head || !get(c, at, head, sizeof head)) return false;
    at += sizeof head;
    if (head[0] != INFO_HAS_PAYLOAD) continue;
    uint64_t size = head[2] | (uint64_t)head[3] << 8;
    if (end - at < size) return false;
    if (size >= sizeof pair && get(c, at, pair, sizeof pair) &&
        pair[0] == symbol)
      info_take(head[1], pair[1], u);
    at += size;
  }
  return true;
}

/* The number in sm_NN: ELF ABI 8 moved it up by a byte. */
static uint32_t cubin_arch(const struct cubin *c)
{
  int shift = c->head.e_ident[EI_ABIVERSION] >= 8 ? 8 : 0;

  return c->head.e_flags >> shift & 0xff;
}

static int shared_read(const struct cubin *c, const char *entry)
{
  Elf64_Shdr shared;

  if (!section_find(c, ".nv.shared.", entry, &shared)) return 0;
  if (cubin_arch(c) >= 90 && shared.sh_size >= RESERVED_SHARED)
    shared.sh_size -= RESERVED_SHARED;
  return shared.sh_size > INT32_MAX ? INT32_MAX : (int)shared.sh_size;
}

dd_status cubin_usage(const void *code, size_t size, const char *entry,
                      struct usage *out)
{
  struct cubin c;
  Elf64_Shdr text, info, symbols;
  uint32_t section, symbol;

  memset(out, 0, sizeof *out);
  TRY(cubin_check(code, size));
  cubin_read(&c, code, size);
  section = section_find(&c, ".text.", entry, &text);
  if (!section || !section_find(&c, ".nv.info", "", &info) ||
      info.sh_type == SHT_NOBITS ||
      !section_get(&c, info.sh_link, &symbols))
    return fail(DD_COMPILE, "the cubin has no entry '%s'", entry);
  symbol = entry_find(&c, &symbols, section, entry);
  if (!symbol) return fail(DD_COMPILE, "the cubin has no entry '%s'", entry);
  out->registers = (int)(text.sh_info >> 24);
  out->shared_bytes = shared_read(&c, entry);
  if (!info_read(&c, &info, symbol, out))
    return fail(DD_COMPILE, "the cubin's .nv.info is cut short");
  return DD_OK;
}

dd_status cubin_entry_code(const void *code, size_t size, const char *entry,
                           const void **out, size_t *out_size)
{
  struct cubin c;
  Elf64_Shdr text;

  *out = NULL;
  *out_size = 0;
  TRY(cubin_check(code, size));
  cubin_read(&c, code, size);
  if (!section_find(&c, ".text.", entry, &text) || text.sh_type == SHT_NOBITS)
    return fail(DD_COMPILE, "the cubin has no entry '%s'", entry);
  *out = (const char *)code + text.sh_offset;
  *out_size = text.sh_size;
  return DD_OK;
}
