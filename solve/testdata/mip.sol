Model status
Optimal

# Primal solution values
Feasible
Objective 3
# Columns 2
C0 1
C1 0
# Rows 2
R0 4
R1 1

# Dual solution values
None

# Basis
HiGHS_basis_file v2
None
