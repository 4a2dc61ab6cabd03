Model status
Optimal

# Primal solution values
Feasible
Objective 4.25
# Columns 2
C0 0.75
C1 1
# Rows 2
R0 5
R1 1.75

# Dual solution values
Feasible
# Columns 2
C0 0
C1 0.5
# Rows 2
R0 0.75
R1 0

# Basis
HiGHS_basis_file v2
Valid
# Columns 2
C0 1
C1 2
# Rows 2
R0 2
R1 1
