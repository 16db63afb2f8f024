/*
 * test_client.c - the sweep's end of a device worker that misbehaves.
 *
 * The workers are this program again.  A script in a file says what each does
 * in turn, one letter per worker:
 *   f  refuses to list and to open      x  ends when it is asked to open
 *   h  opens, answers, never ends       .  opens and answers
 * A request's first word says what happens to it: 1000 is answered, 1001 is
 * noted as candidates 4 and 7 and the worker dies, 1002 is noted as 3 and then
 * nothing comes, 1003 is answered with DD_DEVICE after a note of 5.
 */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "output.h"

/* ---- The worker ------------------------------------------------------ */

/* Takes the first letter off the script; '.' when it is used up. */
static char next_letter(void)
{
  const char *path = getenv("CLIENT_TEST");
  struct bytes script = BYTES_INIT;
  char letter = '.';

  if (!path || file_read(path, 64, &script)) _exit(9);
  if (script.size) {
    letter = script.data[0];
    if (file_write(path, script.data + 1, script.size - 1)) _exit(9);
  }
  bytes_release(&script);
  return letter;
}

static void send_note(uint32_t candidate)
{
  struct bytes message = BYTES_INIT;

  wire_put_u32(&message, ANSWER_NOTE);
  wire_put_u32(&message, candidate);
  wire_send(WORKER_OUT, &message);
  bytes_release(&message);
}

static void send_list(void)
{
  struct device_info info = {.kind = "cpu", .name = "listed"};
  struct bytes message = BYTES_INIT;

  wire_put_u32(&message, DD_OK);
  wire_put_text(&message, "");
  wire_put_u32(&message, 1);
  put_device_info(&message, &info);
  wire_send(WORKER_OUT, &message);
  bytes_release(&message);
}

static void send_answer(dd_status status, bool with_info)
{
  struct device_info info = {.kind = "cpu", .name = "pretended"};
  struct bytes message = BYTES_INIT;

  wire_put_u32(&message, status);
  wire_put_text(&message, status ? "as the script says" : "");
  if (with_info && !status) put_device_info(&message, &info);
  wire_send(WORKER_OUT, &message);
  bytes_release(&message);
}

static void obey(uint32_t word, char letter)
{
  if (word == REQUEST_LIST && letter == 'f') send_answer(DD_DEVICE, false);
  else if (word == REQUEST_LIST) send_list();
  if (word == REQUEST_OPEN && letter == 'x') _exit(3);
  if (word == REQUEST_OPEN)
    send_answer(letter == 'f' ? DD_DEVICE : DD_OK, true);
  if (word == 1000) send_answer(DD_OK, false);
  if (word == 1001) {
    send_note(4);
    send_note(7);
    raise(SIGKILL);
  }
  if (word == 1002) send_note(3);
  if (word == 1003) {
    send_note(5);
    send_answer(DD_DEVICE, false);
  }
}

static int worker_main(void)
{
  struct bytes request = BYTES_INIT;
  char letter = next_letter();

  while (!wire_receive(WORKER_IN, MESSAGE_MAX, &request)) {
    struct wire_reader r;
    wire_reader_init(&r, request.data, request.size);
    obey(wire_u32(&r, "a word"), letter);
  }
  bytes_release(&request);
  while (letter == 'h') pause();
  return 0;
}

/* ---- Helpers --------------------------------------------------------- */

static char folder[64], script_path[96];
static const struct bytes no_specs = BYTES_INIT;

static void set_script(const char *letters)
{
  assert_ok(file_write(script_path, letters, strlen(letters)));
}

static int make_script(void **state)
{
  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(script_path, sizeof script_path, "%s/script", folder);
  setenv("CLIENT_TEST", script_path, 1);
  alarm(120); /* a client that waits for ever fails the test */
  return 0;
}

static int remove_script(void **state)
{
  (void)state;
  test_folder_remove(folder);
  return 0;
}

static dd_status call(struct client *c, uint32_t word, double seconds)
{
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status;

  wire_put_u32(&request, word);
  status = client_call(c, &request, seconds, &reply);
  bytes_release(&request);
  bytes_release(&reply);
  return status;
}

static const struct device_info listed = {.kind = "cpu", .name = "listed"};

static dd_status open_listed(struct client *c)
{
  TRY(client_begin(c, &listed, &no_specs));
  return client_wait(c);
}

static void open_client(struct client *c, const char *script)
{
  set_script(script);
  assert_ok(client_begin(c, &listed, &no_specs));
  assert_string_equal(c->info.name, "listed");
  assert_ok(client_wait(c));
  assert_string_equal(c->info.name, "pretended");
  assert_ok(client_wait(c));
}

/* ---- Tests ----------------------------------------------------------- */

static void the_next_call_has_a_new_worker(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, "");
  assert_ok(call(&c, 1000, 60));
  assert_int_equal(c.generation, 1);
  assert_fails(DD_DEVICE, "signal 9", call(&c, 1001, 60));
  assert_int_equal(c.generation, 2);
  assert_ok(call(&c, 1000, 60));
  assert_int_equal(c.generation, 2);
  client_close(&c);
}

/* A worker that cannot open is not kept as one that could. */
static void a_new_worker_may_need_tries(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, ".fx.");
  assert_fails(DD_DEVICE, "signal 9", call(&c, 1001, 60));
  assert_ok(call(&c, 1000, 60));
  client_close(&c);
}

static void the_tries_have_an_end(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, ".fffffff.");
  assert_fails(DD_DEVICE, "signal 9", call(&c, 1001, 60));
  assert_fails(DD_NO_DEVICE, "as the script says", call(&c, 1000, 60));
  assert_fails(DD_NO_DEVICE, "as the script says", call(&c, 1000, 60));
  assert_ok(call(&c, 1000, 60)); /* f, then the one that opens */
  client_close(&c);
}

static void an_open_that_fails_is_told(void **state)
{
  struct client c;

  (void)state;
  set_script("f");
  assert_fails(DD_DEVICE, "as the script says",
               open_listed(&c));
  set_script("x");
  assert_fails(DD_DEVICE, "exit code 3",
               open_listed(&c));
  client_close(&c);
}

/* A second worker would refuse, or a third: each takes a letter. */
static void who_has_listed_opens(void **state)
{
  struct device_info info;
  struct client c, d;
  size_t count;

  (void)state;
  set_script(".f");
  assert_ok(client_list("cpu", &info, 1, &count));
  assert_int_equal(count, 1);
  assert_string_equal(info.name, "listed");
  assert_ok(client_list("cpu", &info, 1, &count));
  assert_ok(open_listed(&c));
  assert_fails(DD_DEVICE, "as the script says", open_listed(&d));
  assert_ok(call(&c, 1000, 60));
  client_close(&c);
}

static void who_cannot_list_is_not_kept(void **state)
{
  struct device_info info;
  struct client c;
  size_t count;

  (void)state;
  set_script("f.");
  assert_fails(DD_DEVICE, "as the script says",
               client_list("cpu", &info, 1, &count));
  assert_ok(open_listed(&c));
  client_close(&c);
}

static void the_last_note_survives_the_worker(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, "");
  assert_fails(DD_DEVICE, "signal 9", call(&c, 1001, 60));
  assert_int_equal(c.noted, 7);
  assert_ok(call(&c, 1000, 60));
  assert_int_equal(c.noted, NO_CANDIDATE);
  assert_fails(DD_DEVICE, "as the script says", call(&c, 1003, 60));
  assert_int_equal(c.noted, 5);
  assert_fails(DD_DEVICE, "did not answer within", call(&c, 1002, 1));
  assert_int_equal(c.noted, 3);
  assert_ok(call(&c, 1000, 60));
  client_close(&c);
}

/* Long after a request, not so long after a note, and never beyond the end. */
static void silence_has_its_limits(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, "");
  c.between = 0.25;
  assert_fails(DD_DEVICE, "did not answer within", call(&c, 1002, 3600));
  assert_int_equal(c.noted, 3);
  assert_ok(call(&c, 1000, 60));
  c.between = 0;
  c.end = seconds_now() + 0.25;
  assert_fails(DD_DEVICE, "did not answer within", call(&c, 1002, 3600));
  c.end = 0;
  assert_ok(call(&c, 1000, 60));
  client_close(&c);
}

/* ---- Beside a call ---------------------------------------------------- */

struct beside {
  int fd[2], turns;
};

static size_t rows(void *user, struct pollfd *fds, size_t capacity)
{
  struct beside *b = user;

  assert_true(capacity >= 1);
  fds[0] = (struct pollfd){b->fd[0], POLLIN, 0};
  return 1;
}

/* The first turn, after the request was sent, makes the row ready. */
static void turn(void *user)
{
  struct beside *b = user;
  char byte = 0;

  if (b->turns++ == 0) assert_int_equal(write(b->fd[1], &byte, 1), 1);
  else assert_int_equal(read(b->fd[0], &byte, 1), 1);
}

static void other_work_goes_on_beside_a_call(void **state)
{
  struct beside b = {.turns = 0};
  struct client c;

  (void)state;
  assert_int_equal(pipe(b.fd), 0);
  open_client(&c, "");
  c.beside = (struct client_beside){rows, turn, &b};
  assert_fails(DD_DEVICE, "did not answer within", call(&c, 1002, 1));
  assert_int_equal(b.turns, 2);
  c.beside = (struct client_beside){NULL, NULL, NULL};
  assert_ok(call(&c, 1000, 60));
  assert_int_equal(b.turns, 2);
  client_close(&c);
  close(b.fd[0]);
  close(b.fd[1]);
}

static void who_is_dismissed_ends_by_itself(void **state)
{
  struct client c;

  (void)state;
  open_client(&c, "");
  assert_false(child_has_ended(&c.child));
  client_dismiss(&c);
  while (!child_has_ended(&c.child)) continue; /* or the alarm goes off */
  client_close(&c);
  client_dismiss(&c);
}

static void a_worker_that_does_not_end_is_killed(void **state)
{
  struct client c;
  pid_t pid;

  (void)state;
  open_client(&c, "h");
  pid = c.child.pid;
  client_close(&c);
  assert_int_equal(kill(pid, 0), -1);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_next_call_has_a_new_worker),
      cmocka_unit_test(a_new_worker_may_need_tries),
      cmocka_unit_test(the_tries_have_an_end),
      cmocka_unit_test(an_open_that_fails_is_told),
      cmocka_unit_test(who_has_listed_opens),
      cmocka_unit_test(who_cannot_list_is_not_kept),
      cmocka_unit_test(the_last_note_survives_the_worker),
      cmocka_unit_test(silence_has_its_limits),
      cmocka_unit_test(other_work_goes_on_beside_a_call),
      cmocka_unit_test(who_is_dismissed_ends_by_itself),
      cmocka_unit_test(a_worker_that_does_not_end_is_killed),
  };

  if (argc > 1 && !strcmp(argv[1], WORKER_DEVICE)) return worker_main();
  return cmocka_run_group_tests(tests, make_script, remove_script);
}
