package kernel

// Sets are Available and those that Available passes over for better ones on this processor.
func Sets() []*Set { return append(Available(), passedOver()...) }
