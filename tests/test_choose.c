/* test_choose.c - which GPU --gpu means. */
#include "test.h"

#include "choose.h"

static const struct device_info gpus[] = {
    {.kind = "cuda", .name = "NVIDIA GeForce RTX 4090", .uuid = "GPU-aa-1",
     .index = 0},
    {.kind = "cuda", .name = "NVIDIA H200", .uuid = "GPU-bb-2", .index = 1},
    {.kind = "cuda", .name = "NVIDIA H200", .uuid = "GPU-cc-3", .index = 2},
    {.kind = "cuda", .name = "NVIDIA A10", .uuid = "GPU-dd-4", .index = 3},
};

static int chosen(const char *gpu)
{
  const struct device_info *d = choose_among(gpus, COUNT_OF(gpus), gpu);

  return d ? d->index : -1;
}

static void a_name_an_index_or_a_uuid(void **state)
{
  (void)state;
  assert_int_equal(chosen("h200"), 1);
  assert_int_equal(chosen("gpu-CC-3"), 2);
  assert_int_equal(chosen("2"), 2);
  assert_int_equal(chosen("A10"), 3);
  assert_int_equal(chosen("H100"), -1);
}

/* Digits are an index where there is one, and a part of a name elsewhere. */
static void digits_may_be_a_name(void **state)
{
  (void)state;
  assert_int_equal(chosen("4090"), 0);
  assert_int_equal(chosen("200"), 1);
  assert_int_equal(chosen("10"), 3);
  assert_int_equal(chosen("0"), 0);
  assert_int_equal(chosen("77"), -1);
}

static void a_list_is_of_one_model(void **state)
{
  struct device_info out[DEVICES_MAX];
  size_t count;

  (void)state;
  assert_ok(choose_several(gpus, COUNT_OF(gpus), "GPU-cc-3,1", out, &count));
  assert_int_equal(count, 2);
  assert_int_equal(out[0].index, 2);
  assert_int_equal(out[1].index, 1);
  assert_fails(DD_BAD_ARGUMENT, "twice",
               choose_several(gpus, COUNT_OF(gpus), "1,h200", out, &count));
  assert_fails(DD_BAD_ARGUMENT, "not of one model",
               choose_several(gpus, COUNT_OF(gpus), "1,3", out, &count));
  assert_fails(DD_NO_DEVICE, "'7'",
               choose_several(gpus, COUNT_OF(gpus), "1,7", out, &count));
  assert_fails(DD_NO_DEVICE, "''",
               choose_several(gpus, COUNT_OF(gpus), "1,", out, &count));
}

static void all_are_of_one_model(void **state)
{
  struct device_info out[DEVICES_MAX], other = gpus[2];
  size_t count;

  (void)state;
  assert_ok(choose_several(gpus + 1, 2, "all", out, &count));
  assert_int_equal(count, 2);
  assert_fails(DD_BAD_ARGUMENT, "not of one model",
               choose_several(gpus, COUNT_OF(gpus), "all", out, &count));
  assert_fails(DD_NO_DEVICE, "none",
               choose_several(gpus, 0, "all", out, &count));
  strcpy(other.driver, "580.1");
  out[0] = gpus[1];
  assert_fails(DD_BAD_ARGUMENT, "not of one model",
               choose_several((struct device_info[]){gpus[1], other}, 2, "all",
                              out, &count));
}

static void nothing_is_not_a_name(void **state)
{
  struct device_info info;

  (void)state;
  assert_int_equal(chosen(""), -1);
  assert_fails(DD_BAD_ARGUMENT, "--gpu", choose_device("", false, &info));
  assert_fails(DD_BAD_ARGUMENT, "exclude", choose_device("0", true, &info));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_an_index_or_a_uuid),
      cmocka_unit_test(digits_may_be_a_name),
      cmocka_unit_test(a_list_is_of_one_model),
      cmocka_unit_test(all_are_of_one_model),
      cmocka_unit_test(nothing_is_not_a_name),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
