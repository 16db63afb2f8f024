/* test_base.c - base.h, wire.h and expr.h, mostly by property. */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "expr.h"
#include "wire.h"

static uint64_t random_state = 0x243f6a8885a308d3u;

static uint64_t random_next(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static uint32_t random_below(uint32_t n)
{
  return (uint32_t)(random_next() >> 33) % n;
}

/* ---- Failure ------------------------------------------------------------- */

static void test_fail(void **state)
{
  char longer[3000];

  (void)state;
  assert_int_equal(fail(DD_IO, "file %d", 7), DD_IO);
  assert_string_equal(dd_last_error(), "file 7");
  assert_int_equal(fail_in(DD_BUG, "in '%s'", "x"), DD_BUG);
  assert_string_equal(dd_last_error(), "in 'x': file 7");
  memset(longer, 'a', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  fail(DD_IO, "%s", longer); /* cut, not overrun */
  for (int i = 0; i < 3; ++i) fail_in(DD_IO, "%s", longer);
  assert_true(strlen(dd_last_error()) < 1100);
  assert_string_equal(dd_status_name(DD_UNTUNED), "DD_UNTUNED");
  assert_string_equal(dd_status_name((dd_status)99), "?");
  assert_string_equal(dd_status_text((dd_status)99), "?");
}

/* ---- Memory: the nth allocation fails ------------------------------------ */

static struct allocator own_allocator;

static void use_memory(struct test_memory *m, long fail_at)
{
  test_memory_init(m);
  m->fail_at = fail_at;
  own_allocator = default_allocator;
  default_allocator = m->allocator;
}

static void stop_using(void)
{
  default_allocator = own_allocator;
}

static bool fill_bytes(struct bytes *b)
{
  for (int i = 0; i < 200; ++i) {
    bytes_text(b, "text ");
    bytes_add(b, "\0\1\2", 3);
    bytes_printf(b, "%s=%d", "name", i);
  }
  return !b->failed;
}

static void test_bytes(void **state)
{
  struct bytes b = BYTES_INIT;

  (void)state;
  assert_string_equal(bytes_string(&b), "");
  assert_true(fill_bytes(&b));
  assert_memory_equal(b.data, "text \0\1\2name=0text ", 19);
  assert_int_equal(b.data[b.size], 0);
  bytes_clear(&b);
  assert_string_equal(bytes_string(&b), "");
  bytes_add(&b, NULL, 0);
  assert_int_equal(b.size, 0);
  bytes_release(&b);
}

/* Of any length, the same as the C library's. */
static void test_bytes_printf(void **state)
{
  char want[400];

  (void)state;
  for (int width = 0; width < 300; ++width) {
    struct bytes b = BYTES_INIT;
    int n = snprintf(want, sizeof want, "a %*d b", width, 7);
    bytes_printf(&b, "%s", "");
    assert_string_equal(bytes_string(&b), "");
    bytes_printf(&b, "a %*d b", width, 7);
    assert_int_equal(b.size, n);
    assert_string_equal(bytes_string(&b), want);
    bytes_printf(&b, "a %*d b", width, 7);
    assert_int_equal(b.size, 2 * n);
    assert_string_equal(bytes_string(&b) + n, want);
    bytes_release(&b);
  }
}

/* Failure is sticky, leaves the text whole and terminated; nothing leaks. */
static void test_bytes_without_memory(void **state)
{
  (void)state;
  for (long n = 1;; ++n) {
    struct test_memory m;
    struct bytes b = BYTES_INIT;
    bool fine;
    use_memory(&m, n);
    fine = fill_bytes(&b);
    assert_int_equal(bytes_status(&b), fine ? DD_OK : DD_NO_MEMORY);
    if (b.data) assert_int_equal(b.data[b.size], 0);
    if (!fine) {
      size_t size = b.size;
      bytes_text(&b, "x");
      assert_int_equal(b.size, size);
    }
    bytes_release(&b);
    stop_using();
    assert_int_equal(m.live, 0);
    if (fine) break;
    assert_true(n < 100);
  }
}

enum { BLOCKS = 300 };

/* False when an allocation failed; what was given before stays as it is. */
static bool fill_arena(struct arena *a)
{
  unsigned char *block[BLOCKS];
  size_t size[BLOCKS];
  int n;

  for (n = 0; n < BLOCKS; ++n) {
    size[n] = random_below(n % 10 ? 300 : 40000);
    block[n] = arena_alloc(a, size[n]);
    if (!block[n]) break;
    assert_int_equal((uintptr_t)block[n] % _Alignof(max_align_t), 0);
    for (size_t i = 0; i < size[n]; ++i) assert_int_equal(block[n][i], 0);
    memset(block[n], n + 1, size[n]);
  }
  for (int i = 0; i < n; ++i)
    for (size_t j = 0; j < size[i]; ++j)
      assert_int_equal(block[i][j], (unsigned char)(i + 1));
  return n == BLOCKS;
}

static void test_arena_without_memory(void **state)
{
  (void)state;
  for (long n = 1;; ++n) {
    struct test_memory m;
    struct arena a;
    bool fine;
    test_memory_init(&m);
    m.fail_at = n;
    arena_init(&a, &m.allocator);
    fine = fill_arena(&a);
    arena_release(&a);
    assert_int_equal(m.live, 0);
    arena_release(&a); /* again: harmless */
    if (fine) break;
    assert_true(n < 400);
  }
}

static void test_arena(void **state)
{
  struct arena a;
  struct test_memory m;

  (void)state;
  arena_init(&a, NULL);
  assert_string_equal(arena_text(&a, "abcdef", 3), "abc");
  assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
  assert_non_null(arena_alloc(&a, 0));
  assert_null(arena_alloc(&a, SIZE_MAX));
  assert_null(arena_alloc(&a, SIZE_MAX - 8));
  use_memory(&m, 1);
  assert_null(arena_printf(&a, "%d", 1));
  stop_using();
  arena_release(&a);
}

/* ---- Hashes -------------------------------------------------------------- */

static void test_hash(void **state)
{
  struct hash h = hash_of("abc", 3), back;
  char hex[HASH_HEX];

  (void)state;
  hash_hex(&h, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                           "b00361a396177a9cb410ff61f20015ad");
  assert_true(hash_parse(hex, &back) && hash_equal(&h, &back));
  for (size_t i = 0; i < 64; ++i) {
    char was = hex[i];
    hex[i] = 'g';
    assert_false(hash_parse(hex, &back));
    hex[i] = 0;
    assert_false(hash_parse(hex, &back));
    hex[i] = was;
  }
  assert_false(hash_parse("", &back));
  h = hash_of(NULL, 0);
  hash_hex(&h, hex);
  assert_int_equal(strncmp(hex, "e3b0c44298fc1c14", 16), 0);
}

static void test_hash_in_pieces(void **state)
{
  struct hasher common, one, two;
  struct hash h, whole = hash_of("abc", 3);
  (void)state;

  hasher_begin(&common);
  hasher_add(&common, "a", 1);
  one = two = common;
  hasher_add(&one, "b", 1);
  hasher_add(&one, NULL, 0);
  hasher_add(&one, "c", 1);
  h = hasher_end(&one);
  assert_true(hash_equal(&h, &whole));
  hasher_add(&two, "cb", 2);
  h = hasher_end(&two);
  assert_false(hash_equal(&h, &whole));
  hasher_add(&common, "bc", 2);
  h = hasher_end(&common);
  assert_true(hash_equal(&h, &whole));
}

static void test_quick_hash(void **state)
{
  char text[40] = {0};

  (void)state;
  for (size_t size = 0; size < sizeof text; ++size)
    assert_true(quick_hash(text, size) != quick_hash(text, size + 1) ||
                size + 1 == sizeof text);
  for (size_t bit = 0; bit < 8 * sizeof text; ++bit) {
    uint64_t h = quick_hash(text, sizeof text);
    text[bit / 8] ^= (char)(1 << bit % 8);
    assert_true(h != quick_hash(text, sizeof text));
    text[bit / 8] ^= (char)(1 << bit % 8);
  }
}

/* ---- Files --------------------------------------------------------------- */

static int files_in(const char *folder)
{
  char command[200];
  FILE *f;
  int n = -1;

  snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
  f = popen(command, "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%d", &n), 1);
  pclose(f);
  return n;
}

/* A reader that opened the old file keeps all of it; nothing is left aside. */
static void test_file_write(void **state)
{
  char folder[64], path[128], text[8] = "";
  struct bytes b = BYTES_INIT;
  int old;

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/file", folder);
  assert_ok(file_write(path, "old text", 8));
  old = open(path, O_RDONLY);
  assert_ok(file_write(path, "new", 3));
  assert_int_equal(read(old, text, 8), 8);
  assert_memory_equal(text, "old text", 8);
  close(old);
  assert_ok(file_read(path, 3, &b));
  assert_string_equal(bytes_string(&b), "new");
  assert_fails(DD_IO, "has more than 2 bytes", file_read(path, 2, &b));
  assert_int_equal(files_in(folder), 1);
  assert_ok(file_write(path, NULL, 0));
  assert_ok(file_read(path, 0, &b));
  assert_int_equal(b.size, 0);
  bytes_release(&b);
  test_folder_remove(folder);
}

/* A write that cannot be finished leaves neither a file nor a scrap. */
static void test_file_write_fails(void **state)
{
  char folder[64], path[128];
  struct bytes b = BYTES_INIT;

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(path, sizeof path, "%s/taken", folder);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_fails(DD_IO, path, file_write(path, "text", 4));
  assert_int_equal(files_in(folder), 1);
  assert_fails(DD_IO, "is not a regular file", file_read(path, 10, &b));
  snprintf(path, sizeof path, "%s/no/file", folder);
  assert_fails(DD_IO, path, file_write(path, "text", 4));
  assert_fails(DD_IO, path, file_read(path, 10, &b));
  bytes_release(&b);
  test_folder_remove(folder);
}

/* ---- Dtypes -------------------------------------------------------------- */

/* An independent reading of a 16-bit pattern: sign, exponent, mantissa. */
static double decode(uint32_t bits, int mantissa_bits, int bias)
{
  int exponent_bits = 15 - mantissa_bits;
  uint32_t e = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
  double m = bits & ((1u << mantissa_bits) - 1), scale = 1 << mantissa_bits;
  double sign = bits >> 15 ? -1 : 1;

  if (e == (1u << exponent_bits) - 1) return m ? NAN : sign * INFINITY;
  if (e == 0) return sign * (m / scale) * pow(2, 1 - bias);
  return sign * (1 + m / scale) * pow(2, (int)e - bias);
}

static void check_pattern(int64_t dtype, uint16_t bits, double want)
{
  double got = dtype_load(dtype, &bits);
  uint16_t back;

  if (isnan(want)) {
    assert_true(isnan(got));
    dtype_store(dtype, &back, got);
    assert_true(isnan(dtype_load(dtype, &back)));
    return;
  }
  assert_memory_equal(&got, &want, sizeof got); /* the sign of zero too */
  dtype_store(dtype, &back, got);
  assert_int_equal(back, bits);
  assert_true(dtype_round(dtype, got) == got);
}

static void test_every_pattern(void **state)
{
  (void)state;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    check_pattern(DD_F16, (uint16_t)bits, decode(bits, 10, 15));
    check_pattern(DD_BF16, (uint16_t)bits, decode(bits, 7, 127));
  }
}

/* Between neighbours: the nearer one, the even one on a tie; one ulp apart. */
static void check_between(int64_t dtype, uint16_t bits)
{
  uint16_t next = (uint16_t)(bits + 1), got;
  double low = dtype_load(dtype, &bits), high = dtype_load(dtype, &next);
  double middle = low + (high - low) / 2;

  dtype_store(dtype, &got, middle);
  assert_int_equal(got, bits & 1 ? next : bits);
  dtype_store(dtype, &got, nextafter(middle, 0));
  assert_int_equal(got, bits);
  dtype_store(dtype, &got, nextafter(middle, INFINITY));
  assert_int_equal(got, next);
  dtype_store(dtype, &got, -nextafter(middle, INFINITY));
  assert_int_equal(got, next | 0x8000);
  assert_true(dtype_round(dtype, middle) == (bits & 1 ? high : low));
  assert_true(dtype_ulp(dtype, low) == high - low);
  assert_true(dtype_ulp(dtype, -low) == high - low);
}

static void test_rounding(void **state)
{
  double top16 = 65504, topbf = ldexp(255, 120);
  uint16_t got;

  (void)state;
  for (uint32_t bits = 0; bits < 0x7bff; ++bits)
    check_between(DD_F16, (uint16_t)bits);
  for (uint32_t bits = 0; bits < 0x7f7f; ++bits)
    check_between(DD_BF16, (uint16_t)bits);
  assert_true(dtype_round(DD_F16, 65519.99) == top16);
  assert_true(isinf(dtype_round(DD_F16, 65520)));
  assert_true(isinf(dtype_round(DD_BF16, topbf + ldexp(1, 119))));
  dtype_store(DD_F16, &got, -70000);
  assert_int_equal(got, 0xfc00);
  dtype_store(DD_BF16, &got, 1e300);
  assert_int_equal(got, 0x7f80);
}

static void test_fp32_and_integers(void **state)
{
  (void)state;
  for (int i = 0; i < 100000; ++i) {
    uint32_t bits = (uint32_t)random_next();
    float f, back;
    memcpy(&f, &bits, 4);
    if (isnan(f)) continue;
    dtype_store(DD_F32, &back, f);
    assert_memory_equal(&f, &back, 4);
    if (isfinite(f) && f != 0 && fabsf(f) < 3e38f)
      assert_true(dtype_ulp(DD_F32, f) ==
                  (double)nextafterf(fabsf(f), INFINITY) - fabsf(f));
  }
  for (int i = 0; i < 1000; ++i) {
    int64_t wide = (int64_t)(random_next() >> 12), wide_back;
    int32_t narrow = (int32_t)random_next(), narrow_back;
    dtype_store(DD_I64, &wide_back, (double)wide);
    dtype_store(DD_I32, &narrow_back, narrow);
    assert_true(wide == wide_back && narrow == narrow_back);
    assert_true(dtype_load(DD_I64, &wide) == (double)wide);
  }
}

static void test_dtype_names(void **state)
{
  (void)state;
#define CHECK(name, value, bytes)                                              \
  assert_string_equal(dtype_name(value), #name);                               \
  assert_int_equal(dtype_parse(#name), value);                                 \
  assert_int_equal(dtype_bytes(value), bytes);
  DTYPE_MAP(CHECK)
#undef CHECK
  assert_string_equal(dtype_name(4), "?");
  assert_int_equal(dtype_parse("bf1"), 0);
  assert_int_equal(dtype_bytes(0), 0);
}

/* ---- Wire ---------------------------------------------------------------- */

enum { KINDS = 6, FIELDS = 12 };

struct field {
  int kind;
  int64_t number;
  double real;
  char text[20];
  struct hash hash;
};

static void random_field(struct field *f)
{
  uint32_t n = random_below(sizeof f->text);

  memset(f, 0, sizeof *f);
  f->kind = (int)random_below(KINDS);
  f->number = (int64_t)random_next();
  f->real = ldexp((double)(int64_t)random_next(), (int)random_below(100) - 50);
  for (uint32_t i = 0; i < n; ++i) f->text[i] = (char)(1 + random_below(255));
  f->hash = hash_of(&f->number, 8);
}

static void put_field(struct bytes *b, const struct field *f)
{
  switch (f->kind) {
  case 0: wire_put_u32(b, (uint32_t)f->number); break;
  case 1: wire_put_i64(b, f->number); break;
  case 2: wire_put_f64(b, f->real); break;
  case 3: wire_put_text(b, f->text); break;
  case 4: wire_put_bytes(b, f->text, sizeof f->text); break;
  case 5: wire_put_hash(b, &f->hash); break;
  }
}

/* Whether the next field reads back as it was. */
static bool take_field(struct wire_reader *r, struct arena *a,
                       const struct field *f)
{
  struct hash h;
  size_t size;
  const void *at;

  switch (f->kind) {
  case 0: return wire_u32(r, "a number") == (uint32_t)f->number;
  case 1: return wire_i64(r, "a number") == f->number;
  case 2: return wire_f64(r, "a real") == f->real;
  case 3: return strcmp(wire_text(r, a, "a text"), f->text) == 0;
  case 4:
    at = wire_bytes(r, &size, "bytes");
    return size == sizeof f->text && at && memcmp(at, f->text, size) == 0;
  default: h = wire_hash(r, "a hash"); return hash_equal(&h, &f->hash);
  }
}

static bool take_fields(struct wire_reader *r, struct arena *a,
                        const struct field *f)
{
  bool same = true;

  for (int i = 0; i < FIELDS; ++i) same = take_field(r, a, &f[i]) && same;
  return same;
}

/* A message cut at every length, in memory of exactly that size, so that a
 * read past its end is seen by the sanitizer: it always fails. */
static void check_cut(const struct bytes *b, const struct field *f)
{
  for (size_t size = 0; size < b->size; ++size) {
    struct wire_reader r;
    struct arena a;
    char *copy = malloc(size + !size);
    assert_non_null(copy);
    memcpy(copy, b->data, size);
    arena_init(&a, NULL);
    wire_reader_init(&r, copy, size);
    take_fields(&r, &a, f);
    assert_true(r.failed);
    assert_fails(DD_IO, "cannot read ", wire_status(&r, true, DD_IO));
    assert_int_equal(wire_i64(&r, "more"), 0);
    assert_string_equal(wire_text(&r, &a, "more"), "");
    arena_release(&a);
    free(copy);
  }
}

/* A garbled message reads as something else or fails; it stays in bounds. */
static void check_garbled(const struct bytes *b, const struct field *f)
{
  for (size_t i = 0; i < b->size; ++i) {
    struct wire_reader r;
    struct arena a;
    char *copy = malloc(b->size);
    assert_non_null(copy);
    memcpy(copy, b->data, b->size);
    copy[i] ^= (char)(1 + random_below(255));
    arena_init(&a, NULL);
    wire_reader_init(&r, copy, b->size);
    assert_false(take_fields(&r, &a, f) && !wire_status(&r, true, DD_IO));
    assert_true(r.at <= r.end);
    arena_release(&a);
    free(copy);
  }
}

static void test_wire_round_trip(void **state)
{
  (void)state;
  for (int i = 0; i < 300; ++i) {
    struct field f[FIELDS];
    struct bytes b = BYTES_INIT;
    struct wire_reader r;
    struct arena a;
    for (int j = 0; j < FIELDS; ++j) {
      random_field(&f[j]);
      put_field(&b, &f[j]);
    }
    arena_init(&a, NULL);
    wire_reader_init(&r, b.data, b.size);
    assert_true(take_fields(&r, &a, f));
    assert_ok(wire_status(&r, true, DD_IO));
    arena_release(&a);
    if (i < 40) check_cut(&b, f);
    if (i < 40) check_garbled(&b, f);
    bytes_add(&b, "x", 1);
    wire_reader_init(&r, b.data, b.size);
    arena_init(&a, NULL);
    take_fields(&r, &a, f);
    assert_ok(wire_status(&r, false, DD_IO));
    assert_fails(DD_IO, "1 bytes too many", wire_status(&r, true, DD_IO));
    arena_release(&a);
    bytes_release(&b);
  }
}

static void test_wire_limits(void **state)
{
  struct bytes b = BYTES_INIT;
  struct wire_reader r;
  struct arena a;
  struct test_memory m;

  (void)state;
  wire_put_u32(&b, 11);
  wire_reader_init(&r, b.data, b.size);
  assert_int_equal(wire_count(&r, 11, "a list"), 11);
  wire_reader_init(&r, b.data, b.size);
  assert_int_equal(wire_count(&r, 10, "a list"), 0);
  assert_fails(DD_BUG, "cannot read a list", wire_status(&r, true, DD_BUG));
  bytes_clear(&b);
  wire_put_bytes(&b, "a\0b", 3); /* no NUL inside a text */
  arena_init(&a, NULL);
  wire_reader_init(&r, b.data, b.size);
  assert_string_equal(wire_text(&r, &a, "a name"), "");
  assert_fails(DD_BUG, "cannot read a name", wire_status(&r, true, DD_BUG));
  test_memory_init(&m);
  m.fail_at = 1;
  arena_init(&a, &m.allocator);
  bytes_clear(&b);
  wire_put_text(&b, NULL);
  wire_reader_init(&r, b.data, b.size);
  assert_string_equal(wire_text(&r, &a, "a name"), "");
  assert_fails(DD_BUG, "out of memory", wire_status(&r, true, DD_BUG));
  bytes_release(&b);
}

static void test_wire_pipe(void **state)
{
  struct bytes out = BYTES_INIT, in = BYTES_INIT;
  int ends[2];

  (void)state;
  assert_int_equal(pipe(ends), 0);
  for (int i = 0; i < 300; ++i) wire_put_i64(&out, i);
  assert_ok(wire_send(ends[1], &out));
  assert_ok(wire_receive(ends[0], out.size, &in));
  assert_int_equal(in.size, out.size);
  assert_memory_equal(in.data, out.data, in.size);
  assert_ok(wire_send(ends[1], &out));
  assert_fails(DD_IO, "is longer than 2399",
               wire_receive(ends[0], out.size - 1, &in));
  close(ends[1]);
  close(ends[0]);
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], "\5\0\0\0ab", 6), 6);
  close(ends[1]); /* the writer died in the middle of a message */
  assert_fails(DD_IO, "closed", wire_receive(ends[0], 100, &in));
  assert_fails(DD_IO, "closed", wire_receive(ends[0], 100, &in));
  close(ends[0]);
  out.failed = true;
  assert_int_equal(wire_send(-1, &out), DD_NO_MEMORY);
  bytes_release(&out);
  bytes_release(&in);
}

/* ---- Expressions --------------------------------------------------------- */

enum { SLOTS = 4 };

static bool resolve(void *scope, const char *name, struct expr_name *out)
{
  (void)scope;
  if (strcmp(name, "layout.neox") == 0) *out = (struct expr_name){true, 7};
  else if (name[0] >= 'a' && name[0] < 'a' + SLOTS && !name[1])
    *out = (struct expr_name){false, name[0] - 'a'};
  else return false;
  return true;
}

/* A random expression, evaluated here while it is written, in 128 bits: the
 * evaluator under test sees only the text. */
struct made {
  bool fine; /* false: overflow or division by zero on the way */
  __int128 value;
};

static struct made settle(__int128 value)
{
  bool fits = value >= INT64_MIN && value <= INT64_MAX;

  return (struct made){fits, fits ? value : 0};
}

static const struct {
  const char *word;
  int level;
} binary_operators[] = {{"||", 1}, {"&&", 2}, {"==", 3}, {"!=", 3}, {"<", 4},
                        {"<=", 4}, {">", 4},  {">=", 4}, {"+", 5},  {"-", 5},
                        {"*", 6},  {"/", 6},  {"%", 6}};

static struct made apply(int op, struct made a, struct made b)
{
  struct made bad = {false, 0};

  if (!a.fine) return bad;
  if (op == 0 && a.value) return settle(1); /* b is not evaluated */
  if (op == 1 && !a.value) return settle(0);
  if (!b.fine) return bad;
  switch (op) {
  case 0:
  case 1: return settle(b.value != 0);
  case 2: return settle(a.value == b.value);
  case 3: return settle(a.value != b.value);
  case 4: return settle(a.value < b.value);
  case 5: return settle(a.value <= b.value);
  case 6: return settle(a.value > b.value);
  case 7: return settle(a.value >= b.value);
  case 8: return settle(a.value + b.value);
  case 9: return settle(a.value - b.value);
  case 10: return settle(a.value * b.value);
  case 11:
    return b.value && settle(a.value / b.value).fine ? settle(a.value / b.value)
                                                     : bad;
  default:
    return b.value && settle(a.value / b.value).fine ? settle(a.value % b.value)
                                                     : bad;
  }
}

static struct made write_expr(struct bytes *out, const int64_t *slots,
                              int level, int depth);

static struct made write_leaf(struct bytes *out, const int64_t *slots)
{
  static const int64_t numbers[] = {0, 1, 2, 3, 7, 64, 4096, INT64_MAX};
  uint32_t pick = random_below(16);

  if (pick < 8) {
    bytes_printf(out, "%lld", (long long)numbers[pick]);
    return settle(numbers[pick]);
  }
  if (pick == 8) {
    bytes_text(out, "layout.neox");
    return settle(7);
  }
  bytes_printf(out, "%c", (char)('a' + pick % SLOTS));
  return settle(slots[pick % SLOTS]);
}

static struct made ceil_div(struct made a, struct made b)
{
  __int128 q;

  if (!a.fine || !b.fine || !b.value) return (struct made){false, 0};
  if (!settle(a.value / b.value).fine) return (struct made){false, 0};
  q = a.value / b.value;
  if (q * b.value != a.value && (a.value < 0) == (b.value < 0)) q++;
  return settle(q);
}

static struct made power_of_two(struct made a)
{
  __int128 p = 1;

  if (!a.fine) return a;
  if (a.value == 0) return settle((__int128)1 << 62);
  while (p <= ((__int128)1 << 62) && a.value % (2 * p) == 0) p *= 2;
  if (p > INT64_MAX) p = INT64_MIN; /* the only int64 that 2^63 divides */
  return settle(p);
}

static struct made write_call(struct bytes *out, const int64_t *slots,
                              int depth)
{
  static const char *const names[] = {"ceil_div", "min", "max", "pow2"};
  uint32_t which = random_below(COUNT_OF(names));
  struct made a, b;

  bytes_printf(out, "%s(", names[which]);
  a = write_expr(out, slots, 0, depth - 1);
  if (which == 3) {
    bytes_text(out, ")");
    return power_of_two(a);
  }
  bytes_text(out, " , ");
  b = write_expr(out, slots, 0, depth - 1);
  bytes_text(out, ")");
  if (which == 0) return ceil_div(a, b);
  if (!a.fine || !b.fine) return (struct made){false, 0};
  if (which == 1) return a.value < b.value ? a : b;
  return a.value > b.value ? a : b;
}

static struct made write_unary(struct bytes *out, const int64_t *slots,
                               int depth)
{
  bool minus = random_below(2);
  struct made a;

  bytes_text(out, minus ? "-" : "!");
  a = write_expr(out, slots, 7, depth - 1);
  if (!a.fine) return a;
  return minus ? settle(-a.value) : settle(!a.value);
}

static struct made write_choice(struct bytes *out, const int64_t *slots,
                                int depth)
{
  struct made a = write_expr(out, slots, 1, depth - 1), b, c;

  bytes_text(out, " ? ");
  b = write_expr(out, slots, 0, depth - 1);
  bytes_text(out, " : ");
  c = write_expr(out, slots, 0, depth - 1);
  if (!a.fine) return a;
  return a.value ? b : c;
}

/* `level` is how tightly the text must bind without brackets: 0 ?:, 1 ||, 2 &&,
 * ... 6 * / %, 7 unary.  Brackets are left out wherever they may be, so that
 * precedence and association are what is tested. */
static struct made write_expr(struct bytes *out, const int64_t *slots,
                              int level, int depth)
{
  uint32_t op = random_below(COUNT_OF(binary_operators));
  int own = binary_operators[op].level;
  struct made a, b;

  if (depth <= 0) return write_leaf(out, slots);
  switch (random_below(8)) {
  case 0: return write_leaf(out, slots);
  case 1: return write_call(out, slots, depth);
  case 2: return write_unary(out, slots, depth);
  case 3:
    if (level == 0) return write_choice(out, slots, depth);
    break;
  default: break;
  }
  if (own < level) {
    bytes_text(out, "(");
    a = write_expr(out, slots, 0, depth - 1);
    bytes_text(out, ")");
    return a;
  }
  a = write_expr(out, slots, own, depth - 1);
  bytes_printf(out, random_below(2) ? " %s " : "%s", binary_operators[op].word);
  b = write_expr(out, slots, own + 1, depth - 1);
  return apply((int)op, a, b);
}

static void random_slots(int64_t *slots)
{
  for (int i = 0; i < SLOTS; ++i) {
    slots[i] = (int64_t)random_next() >> random_below(64);
    if (random_below(30) == 0) slots[i] = INT64_MIN;
  }
}

static void test_expr_against_another(void **state)
{
  int fine = 0, refused = 0;

  (void)state;
  for (int i = 0; i < 60000; ++i) {
    struct arena arena;
    struct bytes text = BYTES_INIT;
    const struct expr *e;
    int64_t slots[SLOTS], got;
    struct made want;
    dd_status status;
    random_slots(slots);
    want = write_expr(&text, slots, 0, 1 + i % 4);
    arena_init(&arena, NULL);
    assert_ok(expr_compile(&arena, text.data, resolve, NULL, &e));
    assert_string_equal(expr_text(e), text.data);
    status = expr_eval(e, slots, &got);
    if (status != (want.fine ? DD_OK : DD_BAD_ARGUMENT) ||
        (want.fine && got != (int64_t)want.value))
      fail_msg("'%s' is %lld, not %lld", text.data, (long long)got,
               (long long)want.value);
    if (status) assert_non_null(strstr(dd_last_error(), "overflows"));
    want.fine ? fine++ : refused++;
    arena_release(&arena);
    bytes_release(&text);
  }
  assert_true(fine > 20000 && refused > 2000);
}

static dd_status compile(const char *text, int64_t *value)
{
  static const int64_t slots[SLOTS] = {1, 2, 3, 4};
  struct arena arena;
  const struct expr *e;
  dd_status status;

  arena_init(&arena, NULL);
  status = expr_compile(&arena, text, resolve, NULL, &e);
  if (status) assert_null(e);
  if (!status) status = expr_eval(e, slots, value);
  arena_release(&arena);
  return status;
}

/* Each sentence shows the text, the place and the reason. */
static void test_expr_refusals(void **state)
{
  static const struct {
    const char *text, *why;
  } cases[] = {
    {"", "'' at '': expected a value"},
    {"a +", "'a +' at '': expected a value"},
    {"a b", "'a b' at 'b': expected an operator"},
    {"(a", "at '': expected ')'"},
    {"a ? b", "at '': expected ':'"},
    {"min(a)", "at ')': expected ','"},
    {"pow2(a, b)", "at ', b)': expected ')'"},
    {"nothing + 1", "at 'nothing + 1': there is no such name"},
    {"layout.spiral", "there is no such name"},
    {"sqrt(a)", "there is no such function"},
    {"9223372036854775808", "the number is too large"},
    {"a = b", "at '= b': expected an operator"},
    {"a & b", "expected an operator"},
    {"a << 2", "at '< 2': expected a value"},
    {"1.5", "expected an operator"},
    {"a; b", "expected an operator"},
    {"system('x')", "there is no such function"},
    {"'x'", "expected a value"},
  };
  int64_t value;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i)
    assert_fails(DD_BAD_SPEC, cases[i].why, compile(cases[i].text, &value));
}

/* Depth and length have limits, and text can be anything at all. */
static void test_expr_hostile_text(void **state)
{
  static const char alphabet[] = "ab1 ()+-*/%<>=!&|?:,.minx_pow2\n\1\377";
  char text[4096];
  int64_t value;

  (void)state;
  for (size_t n = 1; n < sizeof text; n = n * 3 / 2 + 1) {
    memset(text, '(', n);
    text[n] = 0;
    assert_int_equal(compile(text, &value), DD_BAD_SPEC);
    memset(text, '-', n);
    assert_int_equal(compile(text, &value), DD_BAD_SPEC);
    for (size_t i = 0; i < n; ++i) text[i] = "a?"[i % 2];
    assert_true(compile(text, &value) == DD_BAD_SPEC || n == 1);
    for (size_t i = 0; i < n; ++i) text[i] = "a+"[i % 2];
    if (n % 2 == 0) assert_int_equal(compile(text, &value), DD_BAD_SPEC);
  }
  for (int i = 0; i < 20000; ++i) {
    size_t n = random_below(40);
    for (size_t j = 0; j < n; ++j)
      text[j] = alphabet[random_below(sizeof alphabet - 1)];
    text[n] = 0;
    compile(text, &value);
  }
}

static void test_expr_guards_and_names(void **state)
{
  struct arena a;
  const struct expr *e;
  int64_t value;

  (void)state;
  assert_ok(compile("b == 2 || a / 0", &value));
  assert_int_equal(value, 1);
  assert_ok(compile("b != 2 && a % 0", &value));
  assert_int_equal(value, 0);
  assert_ok(compile("a ? 5 : 1 / 0", &value));
  assert_int_equal(value, 5);
  assert_ok(compile("1 - 2 - 3 + 100 / 7 / 2 * 2 % 5", &value));
  assert_int_equal(value, -4 + 100 / 7 / 2 * 2 % 5);
  assert_ok(compile("bytes_of(3) + bytes_of(a) * 10", &value));
  assert_int_equal(value, 42);
  assert_fails(DD_BAD_ARGUMENT, "'a / (a - 1)' divides by zero",
               compile("a / (a - 1)", &value));
  arena_init(&a, NULL);
  assert_ok(expr_compile(&a, "a ? c : 3", resolve, NULL, &e));
  assert_true(expr_uses(e, 0) && expr_uses(e, 2));
  assert_false(expr_uses(e, 1) || expr_uses(e, 3));
  arena_release(&a);
}

static void test_expr_without_memory(void **state)
{
  (void)state;
  for (long n = 1; n < 3; ++n) {
    struct test_memory m;
    struct arena a;
    const struct expr *e;
    dd_status status;
    test_memory_init(&m);
    m.fail_at = n;
    arena_init(&a, &m.allocator);
    status = expr_compile(&a, "a + b", resolve, NULL, &e);
    assert_int_equal(status, n == 1 ? DD_NO_MEMORY : DD_OK);
    arena_release(&a);
    assert_int_equal(m.live, 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_fail),
    cmocka_unit_test(test_bytes),
    cmocka_unit_test(test_bytes_printf),
    cmocka_unit_test(test_bytes_without_memory),
    cmocka_unit_test(test_arena),
    cmocka_unit_test(test_arena_without_memory),
    cmocka_unit_test(test_hash),
    cmocka_unit_test(test_hash_in_pieces),
    cmocka_unit_test(test_quick_hash),
    cmocka_unit_test(test_file_write),
    cmocka_unit_test(test_file_write_fails),
    cmocka_unit_test(test_every_pattern),
    cmocka_unit_test(test_rounding),
    cmocka_unit_test(test_fp32_and_integers),
    cmocka_unit_test(test_dtype_names),
    cmocka_unit_test(test_wire_round_trip),
    cmocka_unit_test(test_wire_limits),
    cmocka_unit_test(test_wire_pipe),
    cmocka_unit_test(test_expr_against_another),
    cmocka_unit_test(test_expr_refusals),
    cmocka_unit_test(test_expr_hostile_text),
    cmocka_unit_test(test_expr_guards_and_names),
    cmocka_unit_test(test_expr_without_memory),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
