-- The default: fits every legal problem.
return shared("heads").generic("rope", "Rope")
