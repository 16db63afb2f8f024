/*
 * sweep.h - prove and race every candidate of a list of problems.
 *
 * The story of a problem: its split form's parts are swept first, so that the
 * split plan races with the best of each; then its own variants are compiled,
 * proven one by one as their code arrives, and raced; the database is told.
 */
#ifndef DIFFTUNE_SWEEP_H
#define DIFFTUNE_SWEEP_H

#include "budget.h"
#include "build.h"
#include "output.h"
#include "record.h"
#include "sample.h"

struct sweep_options {
  bool time;          /* race and measure; else prove only (difftune check) */
  uint32_t sample;    /* at most so many variants per problem; 0: all */
  bool cover;         /* cover_points() of each problem that was asked for */
  uint32_t parts;     /* the same for the split form's parts */
  uint64_t seed;
  const char *only;   /* variants with these words in their label, or "split":
                         the split plan alone; NULL: all */
  const char *policy; /* "cold graph", "warm eager", ... */
  bool prune; /* leave out what prune.h says is slow */
  bool incumbent; /* who has won before wins while it is tied (incumbent.h) */
  bool quiet;
};

/* What a sweep waits for.  While the device proves and races, the compile
 * workers go on: only what is waited for counts. */
#define PHASE_MAP(X)                                                           \
  X(COMPILE, "compile") /* nothing of the problem at hand is compiled */       \
  X(LOAD, "load")       /* code on its way to the device */                    \
  X(SET_UP, "set_up")   /* inputs and references of a problem */               \
  X(PROVE, "prove")                                                            \
  X(RACE, "race")                                                              \
  X(RECORD, "record")   /* into the database, but for what is stored beside */
enum phase {
#define PHASE_NAME(name, word) PHASE_##name,
  PHASE_MAP(PHASE_NAME) PHASE_COUNT
#undef PHASE_NAME
};
extern const char *const phase_words[PHASE_COUNT];

/* One candidate of a problem. */
struct entry {
  struct candidate candidate;
  uint32_t part[OP_MAX_STEPS];
  char *label;
  bool done;          /* proven or refused */
  bool proven;
  bool vouched;       /* what its proof rests on was whole afterwards */
  struct entry *twin; /* the same machine code and launch, proven before it;
                         this one does not race */
  struct proof proof;
  const char *rule; /* that says it need not be timed (prune.h); NULL: none */
  bool audited;     /* timed all the same */
  const char *stage, *reason; /* where it was refused; proven ones: in a race */
  bool raced;
  struct standing standing;
  uint64_t bits;      /* of a finalist (corpus.h); 0: none, or unknown */
  int64_t row, proof_row;     /* in the database */
};

/* A problem and what became of its candidates. */
struct outcome {
  struct problem problem;
  char *spelling;
  bool is_part;       /* swept only because a split form needs it */
  bool opened, begun;
  bool unstored;      /* swept, and its rows wait for the winner's code */
  bool restored;      /* stored by an earlier run of this sweep, or by another
                         board (resume.h) */
  bool best_is_split; /* of a restored one, until its entries are counted */
  const char *broken; /* why the device cannot even hold it; NULL: it can */
  const struct fixed *fixed; /* its candidates; NULL: the points */
  uint32_t fixed_count;
  struct arena arena; /* of the points; gone once it is opened */
  struct variant *points;
  uint32_t point_count;
  struct entry *entries;
  uint32_t count;     /* fused; then the split plan, if has_split */
  struct entry *built; /* as they were opened, of one that was restored since */
  uint32_t built_count;
  bool has_split;
  int best;           /* the entry that won the race; -1: none */
  int best_fused;     /* the best that is not the split plan; -1: none */
  int64_t traffic;
  double effort;      /* seconds that its trials took to make */
  double weight;      /* its part in the budget */
  double began, end;  /* of its share; end 0: none */
  double longest;     /* seconds of the longest check that ended well */
  struct candidate incumbent; /* step_count 0: nobody has won before */
  struct race_summary race;
  bool careful; /* each proof is vouched for before the next */
  bool doubted; /* some are to be made again */
  uint32_t pruned;
  uint32_t proven, refused; /* refused by the race: not counted as proven */
  double seconds[PHASE_COUNT];
};

/* Where another process says, piece by piece, what is to be swept: `take` adds
 * with sweep_turn() what it has said until now.  `wait`: there is nothing to
 * do; false then: there will be nothing more.  `done` is told of each that is
 * stored.
 *
 * `coming` are outcomes in the order in which they are given to somebody, this
 * process or another that shares its cache and compiles the same.  They are
 * opened in this order, so that all make the same units of them. */
struct sweep_turns {
  bool (*take)(void *user, bool wait);
  dd_status (*done)(void *user, uint32_t outcome);
  void *user;
  const uint32_t *coming;
  uint32_t coming_count;
  uint32_t coming_at; /* those before it have been given to somebody */
};

struct sweep {
  struct specs *specs;
  struct build *build;
  struct client *client;
  struct recorder *recorder; /* NULL: nothing is stored */
  struct sweep_options options;
  struct arena arena;
  struct outcome *outcomes; /* parts before those that need them */
  uint32_t count, capacity;
  uint32_t *order; /* outcomes in the order in which they are swept */
  uint32_t turn_count; /* of order */
  struct sweep_turns turns; /* take NULL: all of them, as they were added */
  struct cover shown;
  double done, total; /* candidates, for the ETA */
  uint32_t current, ahead; /* turns: the one at hand, the next to be opened */
  uint32_t coming_ahead;   /* of turns.coming: the next to be opened */
  uint32_t stored;         /* turns before it have their rows, or none */
  dd_status ahead_status;  /* what became of opening ahead */
  bool may_record; /* during this call to the worker, which takes its time */
  dd_status record_status; /* what became of recording during calls */
  const char *record_error;
  struct { /* device workers, and the most seconds until the next candidate */
    uint32_t count;
    double longest, lost;
  } replaced;
  bool no_ahead; /* the worker died of making a problem ahead */
  uint32_t left_out;  /* candidates that the budget had no time for */
  uint32_t wanted;    /* candidates that options.only keeps */
  const char *near;   /* the label most like options.only */
  uint32_t near_words; /* how many of its words that has */
  struct progress progress;
  double started, seconds; /* of the run */
  struct budget budget;    /* the caller's to begin */
};

/* Adds a problem, after its parts.  Their variants are queued for compiling
 * when their turn is near.  The sweep's pointers, options and budget are set by
 * the caller. */
dd_status sweep_add(struct sweep *s, const struct problem *p, bool is_part,
                    double weight);
/* As if none had been added. */
void sweep_forget(struct sweep *s);
/* Adds a problem with these candidates alone, which must live as long as the
 * sweep. */
struct fixed {
  bool split;
  uint32_t step_count;
  struct variant step[OP_MAX_STEPS];
  const char *text[OP_MAX_STEPS]; /* the stored one; NULL: the specs' */
};
dd_status sweep_add_fixed(struct sweep *s, const struct problem *p,
                          const struct fixed *candidates, uint32_t count);
/* The outcome of a problem that was added; NULL: it was not. */
struct outcome *sweep_find(const struct sweep *s, const struct problem *p);
/* DD_BAD_ARGUMENT where options.only keeps nothing of what was added. */
dd_status sweep_wants_any(const struct sweep *s);
/* Runs them all.  DD_OK also where candidates, or all of a problem's, were
 * refused; stops early, with DD_OK, when interrupted() says so. */
dd_status sweep_run(struct sweep *s);
void sweep_release(struct sweep *s);
/* Until `fd` can be read, or for a while, keeps compile workers at work, for
 * whom other boards may wait.  False: stopped, or a signal came, or it failed,
 * which s->ahead_status says. */
bool sweep_idle(struct sweep *s, int fd);
/* This outcome's turn comes after those that have one; see sweep_turns. */
dd_status sweep_turn(struct sweep *s, uint32_t outcome);
/* Problems that were asked for and have not been swept. */
uint32_t sweep_left(const struct sweep *s);

/* The seconds of all problems, and the share of the run in which the device
 * loaded, proved or raced. */
double sweep_seconds(const struct sweep *s, double seconds[PHASE_COUNT]);

#endif
