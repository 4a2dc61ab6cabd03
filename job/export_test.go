package job

// Expand is for tests that stand for the runner.
var Expand = expand
