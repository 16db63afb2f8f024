/* fill.c - inputs, as a function of the seed and the index alone. */
#include "fill.h"

#include "fill_element.h"
#include "parallel.h"
#include "rows.h"

struct job {
  struct fill_source source;
  const struct tensor_shape *shape;
  char *base;
};

struct fill_source fill_source_of(const struct tensor_spec *t,
                                  const struct tensor_shape *s, int64_t limit,
                                  enum fill_class class, uint64_t seed)
{
  return (struct fill_source){
      .kind = (int32_t)t->fill,
      .special = (int32_t)class,
      .dtype = s->dtype,
      .width = s->rank ? s->extent[s->rank - 1] : 1,
      .limit = limit > 0 ? limit : 1,
      .seed = fill_mix(seed),
  };
}

static inline void store(char *at, int64_t bytes, uint64_t bits)
{
  const uint16_t half = (uint16_t)bits;
  const uint32_t single = (uint32_t)bits;

  if (bytes == 2) memcpy(at, &half, 2);
  else if (bytes == 4) memcpy(at, &single, 4);
  else memcpy(at, &bits, 8);
}

static void fill_rows(void *user, int64_t first, int64_t last)
{
  const struct job *job = user;
  const struct fill_source *f = &job->source;
  int64_t bytes = dtype_bytes(f->dtype);

  for (int64_t row = first; row < last; ++row) {
    const struct fill_row kind = fill_row_of(f, row);
    char *at = job->base + row_offset(job->shape, row) * bytes;
    for (int64_t c = 0; c < f->width; ++c, at += bytes)
      store(at, bytes, fill_bits(f->dtype, fill_number(f, &kind, row, c)));
  }
}

void fill_tensor(const struct fill_source *f, const struct tensor_shape *s,
                 void *base)
{
  struct job job = {*f, s, base};

  if (!s->count) return;
  parallel_for(s->count / f->width, 1 + 65536 / f->width, fill_rows, &job);
}
