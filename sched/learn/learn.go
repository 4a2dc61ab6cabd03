// Package learn finds numbers for the scheduler's policy by replay, and says whether they may be used.
//
// What can be learned are knobs (knob.go): the weights of what decides between nodes, and the numbers of the order in
// time. An arm is one setting of all knobs, a pull its score in one episode: a trace, or a part of one, replayed by the
// caller. Pulls are dear, the same each time, and comparable: every arm gets the same episodes, so what differs between
// two arms is their difference and not the luck of the draw.
//
// Search (search.go) looks for the best arm of the training episodes by successive halving, in rounds that look ever
// nearer to the best so far. Judge (judge.go) compares that one arm with the default on validation episodes, which Search
// never saw: it is learned when the confidence interval of the mean gain lies at or above zero and no single episode is
// worse than what is tolerated; else the default stays. Rule (rule.go) is the record of all that, a file.
//
//	found, err := learn.Search(problem, learn.Options{Seed: 1})
//	verdict := learn.Judge(measure, onDefault, onFound, 0.5)
//
// Nothing here reads a clock or replays anything. The same problem and seed give the same rule, to the byte.
package learn
