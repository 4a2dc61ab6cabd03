// Package figure is how every benchmark tells what it measured: rows of one form, as one JSON array or as a table.
package figure

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Row is one figure.
type Row struct {
	Case   string  `json:"case"`
	System string  `json:"system"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

// Of makes a row.
func Of(at, system, metric string, value float64, unit string) Row {
	return Row{Case: at, System: system, Metric: metric, Value: value, Unit: unit}
}

// Print writes one JSON array, or what table makes of the rows.
func Print(w io.Writer, rows []Row, asJSON bool, table func(io.Writer, []Row)) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	table(w, rows)
	return nil
}

// Table writes a line for each row by a layout of five strings (case, system, metric, value, unit), values with so many
// decimals.
func Table(layout string, decimals int) func(io.Writer, []Row) {
	return func(w io.Writer, rows []Row) {
		fmt.Fprintf(w, layout, "case", "system", "metric", "value", "unit")
		for _, r := range rows {
			fmt.Fprintf(w, layout, r.Case, r.System, r.Metric, strconv.FormatFloat(r.Value, 'f', decimals, 64), r.Unit)
		}
	}
}
