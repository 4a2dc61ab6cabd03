package web

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Secure is the TLS configuration of a server with a certificate and its key, in PEM. Suites without authenticated
// encryption and curves that Mozilla's "intermediate" list does not have are left out. A client that speaks HTTP/1 and
// HTTP/2 gets HTTP/1: behind Split, HTTP/2 is gRPC's, whose clients speak nothing else. With clientCA, in PEM, clients
// need a certificate that it has signed.
func Secure(cert, key, clientCA []byte) (*tls.Config, error) {
	const op = "web.Secure"
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "the certificate and its key do not work: %v", err)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		NextProtos:       []string{"http/1.1", "h2"},
	}
	if clientCA == nil {
		return c, nil
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(clientCA) {
		return nil, errs.Errorf(op, errs.Invalid, "the authority for clients holds no certificate in PEM")
	}
	return c, nil
}
