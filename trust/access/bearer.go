package access

import (
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Bearer is the token of an Authorization header (RFC 6750, section 2.1).
func Bearer(header string) (string, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", errs.Errorf("access.Bearer", errs.Unauthenticated,
			"the Authorization header is not understood: send `Authorization: Bearer ls_…`; `lineshaft tokens create` makes one")
	}
	return token, nil
}
