package cli

import (
	"os"
	"strings"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// connect gives the client of the server that is meant: the one of --server (or LINESHAFT_SERVER) with a token, else the
// one of the data folder here by its socket, whose owner needs none.
func (e *env) connect() (*client.Client, error) {
	const op = "cli.connect"
	server := e.server
	if server == "" && e.data == "" { // a folder that was named wins over a server of the environment
		server = e.getenv("LINESHAFT_SERVER")
	}
	if server == "" {
		if e.tokenFile != "" {
			return nil, errs.Errorf(op, errs.Invalid, "--token-file is for a server elsewhere: name it with --server URL")
		}
		c, err := e.load(nil)
		if err != nil {
			return nil, err
		}
		return client.Socket(c.Data), nil
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	token, err := e.token()
	if err != nil {
		return nil, err
	}
	return client.New(server, token)
}

func (e *env) token() (string, error) {
	const op = "cli.token"
	if e.tokenFile == "" {
		return strings.TrimSpace(e.getenv("LINESHAFT_TOKEN")), nil
	}
	text, err := os.ReadFile(e.tokenFile)
	if err != nil {
		return "", fileError(op, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\n") {
		return "", errs.Errorf(op, errs.Invalid, "%s does not hold one token on one line; `lineshaft tokens create` prints one", e.tokenFile)
	}
	return token, nil
}
