* A mix of two kinds of nodes that serves 100 requests/s at the least power: 12 a node of kind A, 30 of kind B.
NAME          BLEND
ROWS
 N  WATTS
 G  REQUESTS
 L  RACK
COLUMNS
    MARK      'MARKER'       'INTORG'
    A         WATTS          350.0   REQUESTS        12.0
    A         RACK             1.0
    B         WATTS         1000.0   REQUESTS        30.0
    B         RACK             2.0
    MARK      'MARKER'       'INTEND'
RHS
    RHS       REQUESTS       100.0   RACK            14.0
BOUNDS
 UP BND       A               10.0
 PL BND       B
ENDATA
