package job

import (
	"encoding/json"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Models are the accelerator models that a task can use, any when empty. They read "A100", "A100|H100" or a list, and
// print as the former.
type Models []string

// String joins them by "|".
func (m Models) String() string { return strings.Join(m, "|") }

// MarshalJSON writes one string.
func (m Models) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// MarshalYAML writes one string.
func (m Models) MarshalYAML() (any, error) { return m.String(), nil }

// UnmarshalJSON reads a string or a list of strings.
func (m *Models) UnmarshalJSON(b []byte) error {
	var list []string
	var text string
	if json.Unmarshal(b, &text) == nil {
		if text != "" {
			list = strings.Split(text, "|")
		}
	} else if err := json.Unmarshal(b, &list); err != nil {
		return errs.Errorf("job.Models", errs.Invalid, `give the accelerator's model as "A100", as "A100|H100" or as a list`)
	}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	*m = list
	return nil
}
