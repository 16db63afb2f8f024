-- schema.sql - the tuning database, version 5.
--
-- What was proven, measured and refused.  Rows are appended and never changed,
-- but for a sweep's end; "best" is a view, an opinion recomputed on each look.
--
-- To change it:
--   1. Change this file, and raise user_version.
--   2. Add a row to db_schema.c's migrations[] that takes a file of the version
--      before to this one.  It must end with the same statements in
--      sqlite_schema as this file makes (comments and spaces aside); db_open
--      compares them.  Views are made anew by every migration.
--   3. Add a test that opens a database made by the version before; keep that
--      version's schema.sql in tests/golden.
--
-- 1 to 2: `ranked` keeps sweeps apart and knows ties; no row has changed.
-- 2 to 3: a race says who has won and who is tied, and on which board, in
-- tables of its own; rows from before have none, and are ranked as they were.
-- 3 to 4: `bits` says which candidates make the same results, bit by bit.
-- 4 to 5: `twin` says how far apart a race's times of the same code are at least;
-- `spread`, means over several addresses of the code, is dropped with its rows.
--
-- Columns whose name is a table's hold that table's id.  Times are in
-- microseconds.  Ids are 1, 2, 3, ... without gaps, so that a lost row shows.
--
-- row_hash is SHA-256, in hex, of the table's name and every column before it,
-- each with its type and length (db_row.c), because SQLite does not notice a
-- flipped bit.  A large column stands after row_hash and has a hash of its own
-- before it, so that looking at a row need not read it.

PRAGMA application_id = 0x64746e31;  -- "dtn1", at offset 68 of the file
PRAGMA user_version = 5;

-- A device as a kernel sees it.  Boards of one model under one driver are one
-- device, so that several of them can share a sweep.
CREATE TABLE device (
  id           INTEGER PRIMARY KEY,
  kind         TEXT NOT NULL CHECK (kind IN ('cuda', 'cpu')),
  name         TEXT NOT NULL,     -- 'NVIDIA H200'; 'cpu'
  arch         INTEGER NOT NULL,  -- 90: compute capability 9.0; 0 on a cpu
  sms          INTEGER NOT NULL,  -- multiprocessors
  driver       TEXT NOT NULL,     -- '580.159.04'
  l2_bytes     INTEGER NOT NULL,  -- of level-2 cache
  memory_bytes INTEGER NOT NULL,  -- of the first board seen
  row_hash     TEXT NOT NULL,
  UNIQUE (kind, name, arch, sms, driver)
) STRICT;

-- A compiler with its options.
CREATE TABLE toolchain (
  id           INTEGER PRIMARY KEY,
  identity     TEXT NOT NULL UNIQUE,  -- 'nvrtc 13.0.88 -std=c++20 ...'
  row_hash     TEXT NOT NULL
) STRICT;

-- An op and everything its kernels may depend on.
CREATE TABLE problem (
  id           INTEGER PRIMARY KEY,
  spelling     TEXT NOT NULL UNIQUE,  -- 'qknorm_rope:bf16 tokens=4096 ...'
  op           TEXT NOT NULL,         -- 'qknorm_rope'
  static       TEXT NOT NULL,     -- the spelling without the dynamic fields
  read_bytes   INTEGER NOT NULL CHECK (read_bytes >= 0),   -- compulsory
  write_bytes  INTEGER NOT NULL CHECK (write_bytes >= 0),  -- compulsory
  row_hash     TEXT NOT NULL
) STRICT;

-- The generated text that all variants of a scheme share, includes folded in:
-- most of a variant's text, stored once.
CREATE TABLE source (
  id           INTEGER PRIMARY KEY,
  hash         TEXT NOT NULL UNIQUE,  -- SHA-256 of text
  row_hash     TEXT NOT NULL,
  text         TEXT NOT NULL
) STRICT;

-- One point of one scheme's space, known by content.  Its text is its source's,
-- then its entry.
CREATE TABLE variant (
  id           INTEGER PRIMARY KEY,
  hash         TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
  source       INTEGER NOT NULL REFERENCES source,
  op           TEXT NOT NULL,     -- 'qknorm_rope'
  scheme       TEXT NOT NULL,     -- 'warp'
  tunables     TEXT NOT NULL,     -- 'lanes=16 heads=4'
  facts        TEXT NOT NULL,     -- compiled in: 'io=bf16 head_dim=128'
  entry        TEXT NOT NULL,     -- the lines that no other variant has
  row_hash     TEXT NOT NULL
) STRICT;

-- What a variant became.
CREATE TABLE code (
  id           INTEGER PRIMARY KEY,
  variant      INTEGER NOT NULL REFERENCES variant,
  toolchain    INTEGER NOT NULL REFERENCES toolchain,
  target       TEXT NOT NULL,     -- 'sm_90', 'cpu'
  registers    INTEGER NOT NULL,  -- per thread; 0 where unknown
  local_bytes  INTEGER NOT NULL,  -- per thread: stack and spills
  shared_bytes INTEGER NOT NULL,  -- per block, static
  bytes_hash   TEXT NOT NULL,     -- SHA-256 of bytes
  row_hash     TEXT NOT NULL,
  bytes        BLOB NOT NULL,     -- a cubin; for 'cpu' what the tuner ran
  UNIQUE (variant, toolchain, target, bytes_hash)
) STRICT;

-- What races: a fused variant, or the split form with its launches in order.
CREATE TABLE candidate (
  id           INTEGER PRIMARY KEY,
  hash         TEXT NOT NULL UNIQUE,  -- of split and the steps' variant hashes
  split        INTEGER NOT NULL CHECK (split IN (0, 1)),
  step_count   INTEGER NOT NULL CHECK (step_count >= 1),
  label        TEXT NOT NULL,     -- for people: 'qknorm_rope.warp lanes=16'
  row_hash     TEXT NOT NULL,
  CHECK (split = 1 OR step_count = 1)
) STRICT;

CREATE TABLE candidate_step (
  id           INTEGER PRIMARY KEY,
  candidate    INTEGER NOT NULL REFERENCES candidate,
  position     INTEGER NOT NULL CHECK (position >= 0),  -- 0 is launched first
  variant      INTEGER NOT NULL REFERENCES variant,
  row_hash     TEXT NOT NULL,
  UNIQUE (candidate, position)
) STRICT;

-- One run of the tuner on one device.
CREATE TABLE sweep (
  id           INTEGER PRIMARY KEY,
  uid          TEXT NOT NULL UNIQUE CHECK (length(uid) = 32),  -- random
  command      TEXT NOT NULL,     -- as typed
  version      TEXT NOT NULL,     -- of difftune
  host         TEXT NOT NULL,
  device       INTEGER NOT NULL REFERENCES device,
  seed         INTEGER NOT NULL,  -- of inputs and of the order of rounds
  specs_hash   TEXT NOT NULL,     -- of the specs it ran with
  started      TEXT NOT NULL,     -- '2026-11-20T08:05:43Z'
  ended        TEXT NOT NULL,     -- '' until it has ended
  outcome      TEXT NOT NULL,     -- '' until then; 'complete', 'interrupted',
                                  -- or the sentence of what ended it
  row_hash     TEXT NOT NULL,
  CHECK ((ended = '') = (outcome = ''))
) STRICT;

-- A candidate was compared with the reference on every element and was inside
-- the tolerance.
CREATE TABLE proof (
  id           INTEGER PRIMARY KEY,
  sweep        INTEGER NOT NULL REFERENCES sweep,
  candidate    INTEGER NOT NULL REFERENCES candidate,
  problem      INTEGER NOT NULL REFERENCES problem,
  device       INTEGER NOT NULL REFERENCES device,
  toolchain    INTEGER NOT NULL REFERENCES toolchain,
  error        REAL NOT NULL      -- the worst element's, in tolerances
               CHECK (error >= 0 AND error <= 1.0),
  bit_equal    REAL NOT NULL      -- fraction equal to the rounded reference
               CHECK (bit_equal >= 0 AND bit_equal <= 1.0),
  elements     INTEGER NOT NULL CHECK (elements > 0),  -- compared, in all cases
  cases        INTEGER NOT NULL CHECK (cases > 0),     -- inputs tried
  method       TEXT NOT NULL CHECK (method IN ('reference', 'baseline')),
  row_hash     TEXT NOT NULL,
  UNIQUE (id, candidate, problem, device)
) STRICT;

-- Times of one candidate on one problem and device, under one policy.  There
-- is none without a proof of that very candidate, problem and device.
CREATE TABLE measurement (
  id           INTEGER PRIMARY KEY,
  sweep        INTEGER NOT NULL REFERENCES sweep,
  proof        INTEGER NOT NULL,
  candidate    INTEGER NOT NULL,
  problem      INTEGER NOT NULL,
  device       INTEGER NOT NULL,
  policy       TEXT NOT NULL      -- state of the L2 cache, way of launching
               CHECK (policy IN ('cold graph', 'cold eager',
                                 'warm graph', 'warm eager')),
  median_us    REAL NOT NULL CHECK (median_us > 0),
  q1_us        REAL NOT NULL,     -- quartiles of the samples
  q3_us        REAL NOT NULL CHECK (q3_us <= 1e12),
  low_us       REAL NOT NULL,     -- 95 % interval of the median
  high_us      REAL NOT NULL CHECK (high_us <= 1e12),
  sample_count INTEGER NOT NULL CHECK (sample_count > 0),
  dropped      INTEGER NOT NULL CHECK (dropped >= 0),  -- outliers among the
                                  -- samples: kept, and in no number here
  stopped      TEXT NOT NULL      -- 'final': fresh rounds; else screening only
               CHECK (stopped IN ('final', 'eliminated')),
  copy_us      REAL NOT NULL CHECK (copy_us >= 0),  -- copy kernel of the same
                                  -- traffic in the same rounds; 0: none
  noise        REAL NOT NULL CHECK (noise >= 0),  -- the A/A ratio's distance
                                  -- from 1 in this race
  samples_hash TEXT NOT NULL,     -- SHA-256 of samples
  row_hash     TEXT NOT NULL,
  samples      BLOB NOT NULL,     -- in the order taken, little-endian binary64
  FOREIGN KEY (proof, candidate, problem, device)
    REFERENCES proof (id, candidate, problem, device),
  CHECK (q1_us <= median_us AND median_us <= q3_us),
  CHECK (low_us <= high_us),
  CHECK (length(samples) = 8 * sample_count)
) STRICT;

-- A candidate that was given up, and why.
CREATE TABLE failure (
  id           INTEGER PRIMARY KEY,
  sweep        INTEGER NOT NULL REFERENCES sweep,
  candidate    INTEGER NOT NULL REFERENCES candidate,
  problem      INTEGER NOT NULL REFERENCES problem,
  device       INTEGER NOT NULL REFERENCES device,
  stage        TEXT NOT NULL
               CHECK (stage IN ('compile', 'load', 'check', 'time')),
  reason       TEXT NOT NULL,     -- a sentence
  reproducer   TEXT NOT NULL,     -- a command line
  row_hash     TEXT NOT NULL
) STRICT;

-- One race, as its measurements were taken.  Its candidates' times are their
-- ratios to the copy kernel around them, times that kernel's median time.
CREATE TABLE race (
  id           INTEGER PRIMARY KEY,
  sweep        INTEGER NOT NULL REFERENCES sweep,
  problem      INTEGER NOT NULL REFERENCES problem,
  device       INTEGER NOT NULL REFERENCES device,
  board        TEXT NOT NULL,     -- which one: its UUID
  policy       TEXT NOT NULL
               CHECK (policy IN ('cold graph', 'cold eager',
                                 'warm graph', 'warm eager')),
  floor        REAL NOT NULL CHECK (floor >= 0),  -- no gap below is claimed
  again        INTEGER NOT NULL CHECK (again >= 0),  -- blocks timed again:
                                  -- something disturbed them
  sm_mhz       INTEGER NOT NULL CHECK (sm_mhz >= 0),  -- median; 0: unknown
  throttle     TEXT NOT NULL,     -- why the clock was held back; '': it was not
  split_us     REAL NOT NULL CHECK (split_us >= 0),  -- median of the split
                                  -- plan in this race; 0: it was not in it
  row_hash     TEXT NOT NULL
) STRICT;

-- How much two times of the same code differ in a race at least, by the 99 %
-- interval: 0.006 is 0.6 %.  Of a race without a row it is not more than 0.
CREATE TABLE twin (
  id           INTEGER PRIMARY KEY,
  race         INTEGER NOT NULL REFERENCES race,
  apart        REAL NOT NULL CHECK (apart > 0),
  row_hash     TEXT NOT NULL,
  UNIQUE (race)
) STRICT;

-- Where a measurement came out in its race.
CREATE TABLE standing (
  id           INTEGER PRIMARY KEY,
  race         INTEGER NOT NULL REFERENCES race,
  measurement  INTEGER NOT NULL REFERENCES measurement,
  position     INTEGER NOT NULL CHECK (position >= 1),  -- 1: has won
  tied         INTEGER NOT NULL CHECK (tied IN (0, 1)),  -- cannot be told from
                                  -- the fastest
  registers    INTEGER NOT NULL CHECK (registers >= 0),  -- per thread, of its
                                  -- hungriest step; 0: unknown
  ratios_hash  TEXT NOT NULL,     -- SHA-256 of ratios
  row_hash     TEXT NOT NULL,
  ratios       BLOB NOT NULL,     -- of the measurement's samples to the copy
                                  -- kernel around them, little-endian binary64
  UNIQUE (measurement),
  UNIQUE (race, position),
  CHECK (length(ratios) > 0 AND length(ratios) % 8 = 0)
) STRICT;

-- The same candidate on the same problem, timed on each board of a sweep that
-- several share: whether their times may stand in one table.  No view ranks it.
CREATE TABLE anchor (
  id           INTEGER PRIMARY KEY,
  sweep        INTEGER NOT NULL REFERENCES sweep,
  problem      INTEGER NOT NULL REFERENCES problem,
  device       INTEGER NOT NULL REFERENCES device,
  board        TEXT NOT NULL,     -- its UUID
  candidate    INTEGER NOT NULL REFERENCES candidate,
  policy       TEXT NOT NULL
               CHECK (policy IN ('cold graph', 'cold eager',
                                 'warm graph', 'warm eager')),
  median_us    REAL NOT NULL CHECK (median_us > 0),
  low_us       REAL NOT NULL,     -- 95 % interval of the median
  high_us      REAL NOT NULL CHECK (high_us <= 1e12),
  copy_us      REAL NOT NULL CHECK (copy_us >= 0),  -- as in measurement
  floor        REAL NOT NULL CHECK (floor >= 0),    -- as in race
  row_hash     TEXT NOT NULL,
  CHECK (low_us <= median_us AND median_us <= high_us)
) STRICT;

-- What a candidate makes of the corpus of its op, to tell which make the same
-- (tuner/corpus.h).  All f: its rows depend on how many others there are, or its
-- launches differ; two rows say the same, found by two sweeps.
CREATE TABLE bits (
  id           INTEGER PRIMARY KEY,
  candidate    INTEGER NOT NULL REFERENCES candidate,
  device       INTEGER NOT NULL REFERENCES device,
  toolchain    INTEGER NOT NULL REFERENCES toolchain,
  corpus       TEXT NOT NULL,     -- the problem, as it is spelled
  digest       TEXT NOT NULL CHECK (length(digest) = 16),  -- of every result
  row_hash     TEXT NOT NULL,
  UNIQUE (candidate, device, toolchain, corpus, digest)
) STRICT;

-- For the views below; nothing else needs them.
CREATE INDEX proof_of ON proof (problem, device, candidate);
CREATE INDEX measurement_of ON measurement (problem, device, candidate);
CREATE INDEX failure_of ON failure (problem, device, candidate);

-- ---- Views: what people and programs look at ---------------------------

-- Every measurement with its names, in the order of preference: rank 1 is what
-- a table gets, and what a sweep says has won.  This view alone decides.
--
-- rank counts per device (under whatever driver), problem and policy:
--   1. The newest sweep with fresh rounds of the problem comes first, then the
--      older ones: times of two sweeps were not taken in the same rounds, and
--      are never compared.
--   2. In a sweep, the newest race comes first, and what had fresh rounds before
--      what was only screened.
--   3. Of those, the order that their race found (docs/measuring.md).
--   4. Where a file of version 2 did not store it: `tied` are those within the
--      noise of the fastest, that is at most 1 + max(noise, half the width of
--      its 95 % interval / its median) times its median.  Among them the fewest
--      launches win, then the smallest candidate hash; the others follow by
--      their medians.
-- Where nothing had fresh rounds, nothing is 1.
--
-- split_us is the split form's time in the row's own sweep.
CREATE VIEW ranked AS
WITH row AS (
  SELECT m.id AS measurement, m.candidate, m.sweep, f.toolchain,
         m.device AS device_id, d.name AS device, d.kind AS device_kind,
         d.arch, d.sms, d.driver, p.op, p.spelling AS problem, m.policy,
         c.label, m.stopped, c.split, c.step_count, c.hash AS candidate_hash,
         m.median_us, m.q1_us, m.q3_us, m.low_us, m.high_us,
         m.copy_us, m.noise, f.error, m.sample_count, m.dropped,
         s.race, s.position, s.tied AS found_tied,
         coalesce(s.registers, 0) AS registers, coalesce(r.floor, 0) AS floor,
         coalesce(r.board, '') AS board,
         coalesce(r.again, 0) AS again, coalesce(r.sm_mhz, 0) AS sm_mhz,
         coalesce(r.throttle, '') AS throttle, coalesce(w.apart, 0) AS apart
  FROM measurement AS m
  JOIN proof AS f ON f.id = m.proof
  JOIN candidate AS c ON c.id = m.candidate
  JOIN problem AS p ON p.id = m.problem
  JOIN device AS d ON d.id = m.device
  LEFT JOIN standing AS s ON s.measurement = m.id
  LEFT JOIN race AS r ON r.id = s.race
  LEFT JOIN twin AS w ON w.race = s.race
), raced AS (
  SELECT *,
         first_value(median_us * (1 + max(noise, (high_us - low_us) / 2
                                                   / median_us)))
           OVER (race ORDER BY stopped <> 'final', median_us, candidate_hash)
           AS limit_us,
         max(stopped = 'final') OVER race AS fresh,
         coalesce(min(median_us) FILTER (WHERE split AND stopped = 'final')
                    OVER race,
                  min(median_us) FILTER (WHERE split) OVER race) AS split_us
  FROM row
  WINDOW race AS (PARTITION BY device_kind, device, arch, sms, problem, policy,
                               sweep)
), judged AS (
  SELECT *,
         coalesce(found_tied, stopped = 'final' AND median_us <= limit_us)
           AS tied
  FROM raced
)
SELECT *,
       row_number() OVER (
         place ORDER BY fresh DESC, sweep DESC, race DESC,
                        stopped <> 'final', position, tied DESC,
                        CASE WHEN tied THEN step_count END,
                        CASE WHEN tied THEN candidate_hash END,
                        median_us, step_count, candidate_hash, measurement)
         + (max(fresh) OVER place = 0) AS rank
FROM judged
WINDOW place AS (PARTITION BY device_kind, device, arch, sms, problem, policy);

-- The best of each device, problem and policy.
CREATE VIEW best AS
SELECT * FROM ranked WHERE rank = 1;

-- The same, without a look at every measurement, where each is of a race: the
-- first of the newest race.  A test holds it against `best`.
CREATE VIEW newest AS
WITH last AS (
  SELECT r.*, row_number() OVER (
           PARTITION BY d.kind, d.name, d.arch, d.sms, r.problem, r.policy
           ORDER BY r.sweep DESC, r.id DESC) AS age
  FROM race AS r
  JOIN device AS d ON d.id = r.device
)
SELECT m.id AS measurement, m.candidate, m.sweep, f.toolchain,
       l.device AS device_id, d.name AS device, d.kind AS device_kind,
       d.arch, d.sms, d.driver, p.op, p.spelling AS problem, l.policy,
       c.label, m.stopped, c.split, c.step_count, c.hash AS candidate_hash,
       m.median_us, m.q1_us, m.q3_us, m.low_us, m.high_us,
       m.copy_us, m.noise, f.error, m.sample_count, m.dropped,
       l.id AS race, s.position, s.tied, s.registers, l.floor, l.board, l.again,
       l.sm_mhz, l.throttle, coalesce(w.apart, 0) AS apart,
       nullif(l.split_us, 0) AS split_us, 1 AS rank
FROM last AS l
JOIN problem AS p ON p.id = l.problem
JOIN device AS d ON d.id = l.device
-- A winner that points nowhere is a row too, and refused: not one that lacks.
LEFT JOIN twin AS w ON w.race = l.id
LEFT JOIN standing AS s ON s.race = l.id AND s.position = 1
LEFT JOIN measurement AS m ON m.id = s.measurement
LEFT JOIN proof AS f ON f.id = m.proof
LEFT JOIN candidate AS c ON c.id = m.candidate
WHERE l.age = 1;

-- What was given up, in words.
CREATE VIEW failures AS
SELECT f.id AS failure, f.sweep, d.id AS device_id, d.name AS device,
       d.kind AS device_kind, p.op, p.spelling AS problem, c.label, f.stage,
       f.reason, f.reproducer
FROM failure AS f
JOIN candidate AS c ON c.id = f.candidate
JOIN problem AS p ON p.id = f.problem
JOIN device AS d ON d.id = f.device;

-- How far each problem got on each device.  best_us is the best of any policy
-- and driver.
CREATE VIEW coverage AS
SELECT d.name AS device, d.driver, p.spelling AS problem,
       (SELECT count(DISTINCT candidate) FROM proof AS x
        WHERE x.problem = p.id AND x.device = d.id) AS proven,
       (SELECT count(DISTINCT candidate) FROM measurement AS x
        WHERE x.problem = p.id AND x.device = d.id) AS measured,
       (SELECT count(DISTINCT candidate) FROM failure AS x
        WHERE x.problem = p.id AND x.device = d.id) AS failed,
       EXISTS (SELECT 1 FROM measurement AS x
               JOIN candidate AS c ON c.id = x.candidate
               WHERE x.problem = p.id AND x.device = d.id AND c.split)
         AS has_split,
       b.median_us AS best_us,
       b.copy_us / b.median_us AS copy_fraction  -- 1: as fast as a copy
FROM (SELECT device, problem FROM proof
      UNION SELECT device, problem FROM failure) AS seen
JOIN device AS d ON d.id = seen.device
JOIN problem AS p ON p.id = seen.problem
LEFT JOIN (SELECT device_kind, device, arch, sms, problem,
                  min(median_us) AS median_us, copy_us
           FROM best GROUP BY device_kind, device, arch, sms, problem) AS b
  ON b.device_kind = d.kind AND b.device = d.name AND b.arch = d.arch
     AND b.sms = d.sms AND b.problem = p.spelling;
