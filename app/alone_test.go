package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// models is a folder with a model "m" of one version, which has lain there for long.
func models(t *testing.T, versions ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	b, err := os.ReadFile("../nn/keras/testdata/keras3.h5")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		file := filepath.Join(dir, v, "model.h5")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// locked is a buffer that a server writes to while a test reads it.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveAlone runs a server until the test ends, and waits until every folder was looked at.
func serveAlone(t *testing.T, o app.Alone) (addr string, out *locked) {
	t.Helper()
	out = &locked{}
	o.Port, o.Out, o.Err, o.Poll = freePort(t), out, out, 20*time.Millisecond
	if o.BasePath != "" {
		o.Name = "m"
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Serve(ctx, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for !strings.Contains(out.String(), "answer") {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Sprintf("127.0.0.1:%d", o.Port), out
}

func post(t *testing.T, c *http.Client, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

const row = `{"instances": [[1,2,3,4,5,6,7,8,9,10,11,12]]}`

func dial(t *testing.T, addr string, c credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServingAloneAnswersRESTAndGRPCOnOnePortAndIsToldOfModels(t *testing.T) {
	dir := models(t, "1", "2")
	socket := filepath.Join(t.TempDir(), "grpc.sock")
	addr, out := serveAlone(t, app.Alone{BasePath: dir, GRPCSocket: socket, Origins: []string{"https://app.example"}})
	if !strings.Contains(out.String(), "m answers with version 2") {
		t.Error(out)
	}
	url := "http://" + addr + "/v1/models/m"
	if code, body := post(t, http.DefaultClient, url+":predict", row); code != http.StatusOK || !strings.Contains(body, `"predictions"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post(t, http.DefaultClient, url+":predict", row, "Origin", "https://evil.example"); code != http.StatusForbidden {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post(t, http.DefaultClient, url+":predict", row, "Origin", "https://app.example"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	for _, to := range []string{addr, "unix:" + socket} {
		h, err := healthpb.NewHealthClient(dial(t, to, insecure.NewCredentials())).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "m"})
		if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%s: %v, %v", to, h, err)
		}
	}
	calls := dial(t, addr, insecure.NewCredentials())
	reload := func(c *tfproto.ModelConfig) string {
		t.Helper()
		list := &tfproto.ModelConfigList{Config: []*tfproto.ModelConfig{c}}
		r, to := &tfproto.ReloadConfigResponse{}, &tfproto.ReloadConfigRequest{Config: &tfproto.ModelServerConfig{
			Config: &tfproto.ModelServerConfig_ModelConfigList{ModelConfigList: list},
		}}
		if err := calls.Invoke(t.Context(), "/tensorflow.serving.ModelService/HandleReloadConfigRequest", to, r); err != nil {
			t.Fatal(err)
		}
		return r.GetStatus().GetErrorMessage()
	}
	other := &tfproto.ModelConfig{Name: "n", BasePath: dir, ModelVersionPolicy: &tfproto.FileSystemStoragePathSourceConfig_ServableVersionPolicy{
		PolicyChoice: &tfproto.FileSystemStoragePathSourceConfig_ServableVersionPolicy_Specific_{
			Specific: &tfproto.FileSystemStoragePathSourceConfig_ServableVersionPolicy_Specific{Versions: []int64{1}},
		},
	}, VersionLabels: map[string]int64{"old": 1}}
	if msg := reload(other); msg != "" {
		t.Error(msg)
	}
	if code, body := post(t, http.DefaultClient, "http://"+addr+"/v1/models/n/labels/old:predict", row); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post(t, http.DefaultClient, url+":predict", row); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
	if msg := reload(&tfproto.ModelConfig{Name: "n"}); !strings.Contains(msg, `model "n" has no base_path`) {
		t.Error(msg)
	}
}

func TestServingAloneAnswersForASavedModelUnderItsOwnNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "1"), os.DirFS("../nn/savedmodel/testdata/keras")); err != nil {
		t.Fatal(err)
	}
	addr, out := serveAlone(t, app.Alone{BasePath: dir})
	url := "http://" + addr + "/v1/models/m"
	for !strings.Contains(out.String(), "in service") { // the copy rests first
		time.Sleep(10 * time.Millisecond)
	}
	body := `{"inputs": {"keras_tensor": [[[0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9, 1, 1.1]]]}}`
	if code, got := post(t, http.DefaultClient, url+":predict", body); code != http.StatusOK || !strings.Contains(got, `"outputs"`) {
		t.Errorf("%d %s", code, got)
	}
}

// certificate makes one for this machine that signs itself, in PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"hall.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", secret)
}

func TestAPublicAddressIsServedUnderTLSAndTakesModelsFromKnownClientsOnly(t *testing.T) {
	cert, key := certificate(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	for _, verify := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "ssl.config")
		text := fmt.Sprintf("server_cert: %q\nserver_key: %q\ncustom_ca: %q\nclient_verify: %v\n", cert, key, cert, verify)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		addr, _ := serveAlone(t, app.Alone{BasePath: models(t, "1"), SSLFile: file, Host: "0.0.0.0", UploadLimit: units.MiB})
		conf := &tls.Config{RootCAs: pool}
		if verify {
			conf.Certificates = []tls.Certificate{pair}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf.Clone(), ForceAttemptHTTP2: true}}
		url := "https://" + addr + "/v1/models/m"
		if code, body := post(t, client, url+":predict", row); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
		model, err := os.ReadFile("../nn/keras/testdata/keras3.keras")
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{false: http.StatusForbidden, true: http.StatusOK}[verify]
		if code, body := post(t, client, url+":load?filename=m.keras", string(model)); code != want {
			t.Errorf("verify %v: %d %s", verify, code, body)
		}
		client.CloseIdleConnections()
		h, err := healthpb.NewHealthClient(dial(t, addr, credentials.NewTLS(conf))).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "m"})
		if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%v, %v", h, err)
		}
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]int{"hall.example": http.StatusOK, "evil.example": http.StatusForbidden} {
			r.Host = host
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("Host %s: %d", host, resp.StatusCode)
			}
		}
	}
}

func TestWhatCannotBeServedAloneIsRefusedBeforeAnythingBegins(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	base := app.Alone{Port: 8501, Name: "m", BasePath: dir}
	for want, edit := range map[string]func(*app.Alone){
		"say what to serve":                        func(o *app.Alone) { o.BasePath = "" },
		"is no port":                               func(o *app.Alone) { o.Port = 70000 },
		"is no address":                            func(o *app.Alone) { o.Host = "hall.example" },
		"give a certificate":                       func(o *app.Alone) { o.Host = "::" },
		"cannot name a model":                      func(o *app.Alone) { o.Name = "a/b" },
		"cannot read the configuration":            func(o *app.Alone) { o.ConfigFile = dir + "/nowhere" },
		"batching:1:17: max_batch_size is written": func(o *app.Alone) { o.BatchingFile = write("batching", "max_batch_size: 5") },
		"monitoring: prometheus_config: path":      func(o *app.Alone) { o.MonitoringFile = write("monitoring", `prometheus_config { path: "x" }`) },
		"client_verify needs custom_ca": func(o *app.Alone) {
			o.SSLFile = write("ssl", fmt.Sprintf("server_cert: %q server_key: %q client_verify: true", cert, key))
		},
		"do not work": func(o *app.Alone) {
			o.SSLFile = write("ssl2", fmt.Sprintf("server_cert: %q server_key: %q", cert, otherKey))
		},
		"address already in use; give another with --port": func(o *app.Alone) { o.Port = busy.Addr().(*net.TCPAddr).Port },
	} {
		o := base
		o.Out, o.Err = io.Discard, io.Discard
		edit(&o)
		err := app.Serve(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || errs.KindOf(err) == errs.Other {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
