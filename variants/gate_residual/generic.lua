-- The default: everything but the io dtype and the rounding is a run-time
-- argument, so that it fits every legal problem.
return shared "rows".generic()
