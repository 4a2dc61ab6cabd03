package cli

import (
	"encoding/json"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// load reads the configuration as this command line sees it; flags are those of the command by key.
func (e *env) load(flags map[string]string) (app.Config, error) {
	set := map[string]string{}
	for k, v := range flags {
		set[k] = v
	}
	if e.data != "" {
		set["data"] = e.data
	}
	file := e.config
	if file == "" {
		file = e.getenv("LINESHAFT_CONFIG")
	}
	return app.Load(file, e.environ, set)
}

func configCommand(e *env) *cobra.Command {
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in force, as a file that gives it again",
		Long: `Print the configuration in force, as a file that gives it again.

Later sources win: the defaults, the file (--config, or config.yaml in the data folder), the environment (LINESHAFT_ and
the key in upper case with '_' for '-'), the flags.`,
		Args: takes,
		RunE: func(*cobra.Command, []string) error {
			c, err := e.load(nil)
			if err != nil {
				return err
			}
			text, err := c.YAML()
			if err == nil && e.output == "json" {
				if text, err = yaml.YAMLToJSON(text); err == nil {
					return e.show(json.RawMessage(text), nil)
				}
			}
			if err != nil {
				return errs.E("cli.config", errs.Other, err)
			}
			_, err = e.out.Write(text)
			return err
		},
	}
	return group(&cobra.Command{Use: "config", Short: "Show the configuration"}, nil, nil, show)
}
