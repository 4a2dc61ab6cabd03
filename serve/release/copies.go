package release

// Copies is what a shadow's answers were like beside those that were given.
type Copies struct {
	Compared int64   `json:"compared"`
	Dropped  int64   `json:"dropped"`  // for the candidate was busy
	Failed   int64   `json:"failed"`   // that the candidate did not answer
	Alike    int64   `json:"alike"`    // answers that are the same to the bit
	Rows     int64   `json:"rows"`     // compared by the place of the largest number
	Agreed   int64   `json:"agreed"`   // of which in the same place
	MaxAbs   float64 `json:"max_abs"`  // largest difference of two numbers
	MaxRel   float64 `json:"max_rel"`  // largest one relative to the larger of the two, for numbers not near nothing
	MeanAbs  float64 `json:"mean_abs"` // of all numbers
	StableMs float64 `json:"stable_ms"`
	ShadowMs float64 `json:"shadow_ms"` // mean time of the computation alone
	Error    string  `json:"error,omitempty"`
}
