/*
 * race.h - who is fastest, and how sure that is.  Knows no device.
 *
 * A race has 2 to 65537 candidates.  In each round every live one is timed
 * once, in random order, in blocks between two timings of a reference; only
 * ratios to that reference are compared, so that drift cancels.
 *
 *   screening  From the second round on, after each one: whoever is slower than
 *              the fastest by more than `floor`, with an error of `error` for
 *              the whole race, is out.  Never on one sample: of up to four
 *              rounds all must agree, later most.
 *   final      Fresh rounds for the finalists, and for those that are `kept`
 *              (the A/A twin, the split form).  Only these are reported.  Who
 *              is behind by the same test after a third of them is spared the
 *              rest.  While the twin and its original differ by more than the
 *              floor there are as many rounds more, up to `final_more` times.
 *
 * No gap below the floor is claimed: the rule's, and on top of it what the A/A
 * twin differs from its original.  Whose paired difference to the fastest
 * cannot be told from that, by its 99 % interval, is `tied`.  Those that half
 * of the interval brings within the rule's floor are `equal`, and of them the
 * one that was preferred beforehand wins: the margin keeps it inside the tie
 * set of a second race even where that one takes another.  The incumbent, which
 * has won before, wins again as long as it is tied, or cannot be told from who
 * would win in its place.
 * docs/measuring.md says why, and what it costs.
 */
#ifndef DIFFTUNE_RACE_H
#define DIFFTUNE_RACE_H

#include "base.h"
#include "statistics.h"

struct race_rule {
  int first_look;    /* rounds before anybody can be out */
  int screen_rounds; /* at most; fewer once no more than `finalists` are left */
  double error;      /* chance that screening drops the fastest */
  double floor;      /* no gap below this is ever claimed: 0.005 is 0.5 % */
  int finalists, final_rounds;
  int final_look; /* rounds of the final before who is behind is out */
  int final_more; /* times that the final goes on while the twin is apart */
  int screen_repeats, repeats; /* rounds that the clock may spoil; in all */
};
extern const struct race_rule race_rule_default;

enum race_phase { RACE_SCREEN, RACE_FINAL, RACE_OVER };

struct race_entry {
  bool kept, alive, incumbent;
  bool survivor, finalist; /* of the screening; chosen for the final */
  bool tied, equal;        /* to the fastest; may win */
  int preferred;           /* the lower one wins between equals */
  int position;            /* 1: has won; 0: not yet, or the twin */
  double *us, *ratio; /* samples, in rounds' order; ratio to the reference */
  int count, capacity;
  int final_from; /* the first sample of the final phase; -1: not reached */
  double score;   /* the median ratio, when it was last asked for */
};

struct race {
  struct race_rule rule;
  uint64_t random;
  enum race_phase phase;
  int round; /* of the phase */
  int repeated;
  int count;
  int twin, twin_of; /* twin_of -1: it is not in yet; both: there is none */
  double noise; /* deviation of one ratio, over all candidates */
  struct race_entry *entries;
  struct race_entry **sorted; /* room to sort them */
  double *scratch;            /* and a number of each */
};

dd_status race_make(struct race *r, const struct race_rule *rule, int count,
                    uint64_t seed);
void race_release(struct race *r);
void race_keep(struct race *r, int entry);
/* Without it the first entry is the one most preferred. */
void race_prefer(struct race *r, int entry, int preferred);
/* The winner of an earlier race: kept, preferred to all while it is tied. */
void race_favour(struct race *r, int entry);

/* This entry is the A/A twin, and waits.  When the final has begun it enters as
 * `twin_of` under another name: as whoever race_original() says, if the caller
 * can run that one twice.  It is nobody's time. */
void race_twin(struct race *r, int entry);
int race_original(struct race *r);
void race_enter_twin(struct race *r, int twin_of);
/* The live entry with the best median, but for the twin. */
int race_best(struct race *r);

/* The live entries in this round's random order (room for r->count); 0 when
 * the race is over. */
int race_round(struct race *r, int *order);
/* Whether the reference says that nothing happened during a block; if not, it
 * is to be timed again. */
bool race_calm(const struct race *r, double before_us, double after_us);
/* Whether a round that the clock spoilt is worth another try, which is counted:
 * what is always held back is measured all the same. */
bool race_repeats(struct race *r);
/* One timing: microseconds, and the reference's around it. */
dd_status race_sample(struct race *r, int entry, double us, double reference_us);
/* After the round's last sample: counts it, and eliminates. */
void race_round_end(struct race *r);

/* When the race is over: fills in who is tied and every position. */
struct race_verdict {
  int fastest, winner; /* -1: nobody reached the final */
  double noise;        /* what the twin differs from its original */
  double apart;        /* as much at least, by the 99 % interval */
  double floor;        /* the rule's and the noise */
};
void race_judge(struct race *r, struct race_verdict *out);

/* The reported samples of an entry, and their ratios: the final ones, or all
 * where it was eliminated. */
struct race_view {
  const double *us, *ratio;
  int count;
  bool final;
};
struct race_view race_samples(const struct race *r, int entry);
/* a against b in the rounds that both were in: of two finalists the fresh ones,
 * else those of the screening. */
void race_compare(const struct race *r, int a, int b, struct comparison *out);

#endif
