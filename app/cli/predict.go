package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// predictFlags say what to ask.
type predictFlags struct {
	file   string
	rows   []string
	images []string
	size   string
	invert string
}

func predictCommand(e *env) *cobra.Command {
	var o predictFlags
	cmd := &cobra.Command{
		Use:   "predict MODEL",
		Short: "Ask a model in service: MODEL, MODEL:VERSION or MODEL@LABEL",
		Long: `Ask a model in service: MODEL, MODEL:VERSION or MODEL@LABEL.

The rows come from a JSON file (a list of rows, or a request of TensorFlow Serving with "instances" or "inputs"; - for
standard input), from --row, or from pictures. A picture becomes grey values from 0 to 1, ink bright on dark paper as in
MNIST: one with light paper is inverted. It is cut to a square around its ink and brought to --size.

The table shows the place and the share of the largest value of each answer; -o json gives the server's answer.`,
		Example: `  lineshaft predict mnist --image seven.png
  lineshaft predict iris --row 5.1,3.5,1.4,0.2
  lineshaft predict mnist:3 --file digits.json -o json`,
		Args: takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseModel(args[0])
			if err != nil {
				return err
			}
			body, err := o.body(e)
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			answer, err := c.Predict(cmd.Context(), r.name, r.version, r.alias, body)
			if err != nil {
				return err
			}
			return e.show(json.RawMessage(answer), func(w io.Writer) { e.answers(w, answer) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "file", "f", "", "JSON `file` of rows")
	f.StringArrayVar(&o.rows, "row", nil, "one row as `numbers` with commas; may be given more than once")
	f.StringArrayVar(&o.images, "image", nil, "`picture` (PNG, JPEG or GIF); may be given more than once")
	f.StringVar(&o.size, "size", "28x28", "`WIDTHxHEIGHT` of the model's pictures")
	f.StringVar(&o.invert, "invert", "auto", "`whether` to invert pictures: auto, yes or no")
	_ = cmd.MarkFlagFilename("file", "json") // only fails for a flag that is not there
	_ = cmd.MarkFlagFilename("image")
	return cmd
}

// maxBody is how large a request is read from a file; the server has its own limit.
const maxBody = 1 << 30

// body is the request in TensorFlow Serving's form.
func (o *predictFlags) body(e *env) ([]byte, error) {
	const op = "cli.predict"
	ways := 0
	for _, given := range []bool{o.file != "", len(o.rows) > 0, len(o.images) > 0} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, errs.Errorf(op, errs.Invalid, "say what to ask with one of --file FILE, --row NUMBERS or --image PICTURE")
	}
	if o.file != "" {
		text, err := e.text(o.file, maxBody)
		if err != nil {
			return nil, err
		}
		if t := bytes.TrimSpace(text); len(t) > 0 && t[0] == '[' {
			return append(append([]byte(`{"instances":`), t...), '}'), nil
		}
		return text, nil
	}
	var rows [][]float64
	for _, text := range o.rows {
		row, err := parseRow(text)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	for _, file := range o.images {
		row, err := o.picture(file)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return json.Marshal(map[string]any{"instances": rows})
}

func parseRow(text string) ([]float64, error) {
	var row []float64
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, errs.Errorf("cli.predict", errs.Invalid, "--row: %q is no number; write for example --row 5.1,3.5,1.4,0.2", field)
		}
		row = append(row, v)
	}
	if len(row) == 0 {
		return nil, errs.Errorf("cli.predict", errs.Invalid, "--row is empty; write for example --row 5.1,3.5,1.4,0.2")
	}
	return row, nil
}

// answers prints the server's answer: by class where the rows look like shares of a whole, else the values.
func (e *env) answers(w io.Writer, answer []byte) {
	var a struct {
		Predictions []json.RawMessage `json:"predictions"`
	}
	if json.Unmarshal(answer, &a) != nil || a.Predictions == nil {
		fmt.Fprintln(w, string(bytes.TrimSpace(answer)))
		return
	}
	t := newTable("no answers", "ROW>", "ANSWER>", "SHARE>", "NEXT")
	for i, raw := range a.Predictions {
		first, second, share, next, ok := classes(raw)
		if !ok {
			t.row(i, strings.Join(strings.Fields(strings.Trim(string(raw), "[] \n")), " "), "", "")
			continue
		}
		t.row(i, first, percent(share), fmt.Sprintf("%d (%s)", second, percent(next)))
	}
	e.print(w, t)
}

func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }

// classes finds the two largest values of an answer whose values are shares of a whole.
func classes(raw []byte) (first, second int, share, next float64, ok bool) {
	var values []float64
	if json.Unmarshal(raw, &values) != nil || len(values) < 2 {
		return 0, 0, 0, 0, false
	}
	second, sum := -1, 0.0
	for k, v := range values {
		if sum += v; v < 0 {
			return 0, 0, 0, 0, false
		}
		switch {
		case v > values[first]:
			first, second = k, first
		case k != first && (second < 0 || v > values[second]):
			second = k
		}
	}
	return first, second, values[first], values[second], math.Abs(sum-1) < 0.01
}
