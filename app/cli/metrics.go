package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/job"
)

func metricsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "metrics JOB",
		Short: "Print a training run's curves: a row for each epoch; -o json gives every point",
		Args:  takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := e.job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			points, err := c.Metrics(cmd.Context(), id, 0, 0)
			if err != nil {
				return err
			}
			return e.show(list(points), func(w io.Writer) { e.print(w, curves(id, points)) })
		},
	}
}

// curves puts the points into a column for each name, in the order in which they first came.
func curves(id job.ID, points []job.Metric) *table {
	var names []string
	rows := map[int64]map[string]float64{}
	for _, p := range points {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
		if rows[p.Step] == nil {
			rows[p.Step] = map[string]float64{}
		}
		rows[p.Step][p.Name] = p.Value // of a step that was done twice, the newer counts
	}
	head := []string{"STEP>"}
	for _, n := range names {
		head = append(head, n+">")
	}
	t := newTable(fmt.Sprintf("job/%d has written no metrics", id), head...)
	var steps []int64
	for s := range rows {
		steps = append(steps, s)
	}
	slices.Sort(steps)
	for _, s := range steps {
		cells := []any{s}
		for _, n := range names {
			if v, ok := rows[s][n]; ok {
				cells = append(cells, number(v))
			} else {
				cells = append(cells, "")
			}
		}
		t.row(cells...)
	}
	return t
}
