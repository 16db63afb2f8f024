/* rerun.c - a device, set up to run again what a database has. */
#include "rerun.h"

#include <string.h>

#include "choose.h"

static dd_status choose(const struct rerun_device *d, struct device_info *info)
{
  if (!strcmp(d->kind, "cpu")) return choose_device(NULL, true, info);
  if (d->gpu) return choose_device(d->gpu, false, info);
  if (*d->board && !choose_device(d->board, false, info)) return DD_OK;
  return choose_device(d->name, false, info);
}

static dd_status find_device(const struct rerun_device *d,
                             struct device_info *info)
{
  TRY(choose(d, info));
  if (!strcmp(info->kind, d->kind) && !strcmp(info->name, d->name) &&
      info->arch == d->arch && info->sms == d->sms)
    return DD_OK;
  return fail(DD_UNSUPPORTED, "it was measured on %s (%d SMs), and %s (%d SMs) "
              "is another model", d->name, d->sms, info->name, info->sms);
}

dd_status rerun_open(struct rerun *r, struct specs *specs,
                     const struct rerun_device *d, uint64_t seed,
                     const char *policy)
{
  char target[16];

  memset(r, 0, sizeof *r);
  arena_init(&r->sweep.arena, NULL);
  r->sweep.specs = specs;
  r->sweep.build = &r->build;
  r->sweep.client = &r->client;
  r->sweep.options = (struct sweep_options){
      .time = true, .seed = seed, .policy = policy, .quiet = true,
      .incumbent = true};
  TRY(find_device(d, &r->info));
  device_target(&r->info, target);
  TRY(device_lock(&r->lock, &r->info));
  TRY(client_begin(&r->client, &r->info, &specs->message));
  TRY(build_open(&r->build, specs, target, 0, 16));
  if (cache_open(&r->build.cache)) say("%s", dd_last_error());
  return DD_OK;
}

void rerun_close(struct rerun *r)
{
  device_unlock(&r->lock);
  client_close(&r->client);
  build_close(&r->build);
  sweep_release(&r->sweep);
}
