package web_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lineshaft/lineshaft/internal/web"
)

// onePort answers REST and gRPC on one address until the test ends.
func onePort(t *testing.T, secure *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h1, h2 := web.Split(web.Listener(ln), secure)
	rest := web.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Proto, r.Method, len(b))
	}), nil)
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, health.NewServer())
	var both sync.WaitGroup
	both.Go(func() { _ = rest.Serve(h1) })
	both.Go(func() { _ = calls.Serve(h2) })
	t.Cleanup(func() {
		calls.Stop()
		rest.Close()
		both.Wait()
		if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			c.Close()
			t.Error("the port is open still")
		}
	})
	return ln.Addr().String()
}

func call(t *testing.T, addr string, c credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	return err
}

func TestOnePortAnswersRESTAndGRPC(t *testing.T) {
	addr := onePort(t, nil)
	silent, err := net.Dial("tcp", addr) // it keeps nobody waiting, and the end of the server ends it
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for range 3 {
		resp, err := http.Post("http://"+addr, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "HTTP/1.1 POST 100000" {
			t.Errorf("%s", b)
		}
		if err := call(t, addr, insecure.NewCredentials()); err != nil {
			t.Error(err)
		}
	}
	// What begins like the preface and is none is HTTP/1, also byte by byte.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range []byte("PRI * HTTP/1.1\r\nHost: localhost\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
}

// authority signs certificates for 127.0.0.1.
func authority(t *testing.T) (ca *x509.CertPool, caPEM, cert, key []byte) {
	t.Helper()
	make := func(serial int64, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if parent == nil {
			parent, by = c, k
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &k.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out, k
	}
	root, rootKey := make(1, nil, nil)
	leaf, leafKey := make(2, root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	ca = x509.NewCertPool()
	ca.AddCert(root)
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return ca, text("CERTIFICATE", root.Raw), text("CERTIFICATE", leaf.Raw), text("PRIVATE KEY", der)
}

func TestOnePortAnswersBothUnderTLSAndKnowsItsClients(t *testing.T) {
	ca, caPEM, cert, key := authority(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, verify := range []bool{false, true} {
		var clients []byte
		if verify {
			clients = caPEM
		}
		secure, err := web.Secure(cert, key, clients)
		if err != nil {
			t.Fatal(err)
		}
		addr := onePort(t, secure)
		for _, known := range []bool{false, true} {
			conf := &tls.Config{RootCAs: ca}
			if known {
				conf.Certificates = []tls.Certificate{pair}
			}
			// A client of both protocols, as browsers and curl are.
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf.Clone(), ForceAttemptHTTP2: true}}
			resp, err := client.Get("https://" + addr)
			if (err == nil) != (known || !verify) {
				t.Errorf("verify %v, known %v: %v", verify, known, err)
			}
			if err == nil {
				if b, _ := io.ReadAll(resp.Body); string(b) != "HTTP/1.1 GET 0" {
					t.Errorf("%s", b)
				}
				resp.Body.Close()
			}
			client.CloseIdleConnections()
			if err := call(t, addr, credentials.NewTLS(conf)); (err == nil) != (known || !verify) {
				t.Errorf("gRPC: verify %v, known %v: %v", verify, known, err)
			}
		}
		for _, weak := range []*tls.Config{
			{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
			{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
			{CurvePreferences: []tls.CurveID{tls.CurveP521}},
		} {
			weak.RootCAs, weak.Certificates = ca, []tls.Certificate{pair}
			if c, err := tls.Dial("tcp", addr, weak); err == nil {
				c.Close()
				t.Errorf("a weak client is let in: %+v", weak)
			}
		}
	}
	if _, err := web.Secure(cert, []byte("no key"), nil); err == nil || !strings.Contains(err.Error(), "do not work") {
		t.Error(err)
	}
	if _, err := web.Secure(cert, key, []byte("none")); err == nil {
		t.Error("an authority without a certificate is taken")
	}
}
