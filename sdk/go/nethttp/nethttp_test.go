package nethttp_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"recoil.dev/recoil"
	"recoil.dev/recoil/nethttp"
	"recoil.dev/recoil/recoiltest"
)

func store(tx recoil.Tx, request []byte) ([]byte, error) {
	return request, tx.Put([]byte("body"), request)
}

func TestAServeMuxAnswersRequests(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{name}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer, err := nethttp.Router(r).Call(recoil.Key([]byte(r.PathValue("name"))), body, recoil.Write)
		if err != nil {
			t.Error(err)
		}
		w.Header().Add("X-Two", "1")
		w.Header().Add("X-Two", "2")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("X-Late", "is not sent")
		fmt.Fprintf(w, "%s %s %s %s", r.PathValue("name"), r.URL.Query().Get("q"), answer, r.Host)
	})
	respond := nethttp.Handler(mux)
	cluster := recoiltest.NewCluster(store, 4, 2)

	request := recoiltest.NewRequest("POST", "/items/a%2Fb?q=x%20y", []byte("data"))
	request.Headers = []recoil.HTTPHeader{{Name: "host", Value: "example.org"}}
	response, err := respond(request, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(response.Body), "a/b x y data example.org"; response.Status != 201 || got != want {
		t.Errorf("got %d %q, want 201 %q", response.Status, got, want)
	}
	counts := map[string]int{}
	for _, header := range response.Headers {
		counts[header.Name]++
	}
	if counts["X-Two"] != 2 || counts["X-Late"] != 0 || counts["Content-Type"] != 1 {
		t.Errorf("headers: %v", response.Headers)
	}
	if got := cluster.Partition(cluster.Owner([]byte("a/b"))).Get([]byte("body")); string(got) != "data" {
		t.Errorf("stored %q", got)
	}

	for target, status := range map[string]int{"/elsewhere": 404, "/%zz": 400} {
		if response, err := respond(recoiltest.NewRequest("GET", target, nil), cluster); err != nil || response.Status != status {
			t.Errorf("%s: %v %v, want %d", target, response, err, status)
		}
	}
}

func TestTwoSlashesDoNotBeginAHost(t *testing.T) {
	var path string
	respond := nethttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { path = r.URL.Path }))
	response, err := respond(recoiltest.NewRequest("GET", "//a/b", nil), recoiltest.NewCluster(store, 1, 1))
	if err != nil || response.Status != 200 || path != "//a/b" {
		t.Errorf("got %v %v, path %q", response, err, path)
	}
}
