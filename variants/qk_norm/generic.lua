-- The default: fits every legal problem.
return shared("heads").generic("qk_norm", "QkNorm")
