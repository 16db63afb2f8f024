-- The default: fits every legal problem.
return shared("heads").generic("qknorm_rope", "QkNormRope")
