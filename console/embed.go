// Package console carries the browser's face of Lineshaft: the React application under src, built by Vite into dist and
// embedded here. What Handler serves needs nothing from outside; fonts are among the files.
//
// A binary that was built without Node has no dist; it serves one page that says how to build the console.
package console

import (
	"bytes"
	"crypto/rand"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

//go:embed unbuilt.html
var unbuilt []byte

// placeholder stands in index.html where each answer gets a nonce of its own, so that styles made at run time are
// allowed by it and no others are. vite.config.ts names it too.
const placeholder = "__NONCE__"

// types by extension; the system's table is not asked, because it differs from machine to machine.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".md": "text/markdown; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml", ".woff2": "font/woff2",
}

// Handler serves the console: files by their name, and index.html for every address that is a page of the application.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return handler{files: files}
}

type handler struct{ files fs.FS }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console's files are read with GET", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if ext := path.Ext(name); ext != "" && ext != ".gz" && ext != ".html" && !strings.HasPrefix(path.Base(name), ".") {
		h.file(w, r, name)
		return
	}
	h.page(w, r)
}

// file serves one file. A name under assets holds the hash of its content and is kept for a year.
func (h handler) file(w http.ResponseWriter, r *http.Request, name string) {
	body, err := fs.ReadFile(h.files, name)
	if err != nil {
		// A model's name may have a dot: /models/net.v2 is a page. What looks like a part of the build is not.
		if strings.HasPrefix(name, "assets/") || types[path.Ext(name)] != "" {
			http.NotFound(w, r)
			return
		}
		h.page(w, r)
		return
	}
	contentType := types[path.Ext(name)]
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("X-Content-Type-Options", "nosniff")
	if strings.HasPrefix(name, "assets/") {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", "no-cache")
	}
	if packed, err := fs.ReadFile(h.files, name+".gz"); err == nil {
		head.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			head.Set("Content-Encoding", "gzip")
			body = packed
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// page serves the application with a fresh nonce.
func (h handler) page(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	body, err := fs.ReadFile(h.files, "index.html")
	if err != nil {
		body = unbuilt
	}
	head := w.Header()
	head.Set("Content-Type", types[".html"])
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+nonce+"'; img-src 'self' data: blob:; "+
		"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bytes.ReplaceAll(body, []byte(placeholder), []byte(nonce))))
}
