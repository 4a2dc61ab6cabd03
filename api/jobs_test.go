package api_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/job"
)

const sleeper = "name: sleeper\ncommand: [sleep, '100']\n"

func TestAJobLivesItsLifeOverHTTP(t *testing.T) {
	h := newHall(t)
	j := h.submit("dan", sleeper)
	if j.ID != 1 || j.Owner != "dan" || j.State != job.Queued {
		t.Fatalf("%+v", j)
	}
	j = h.await(j.ID, job.Running)
	var list api.Page[job.Job]
	h.as("vic", "GET", "/api/v1/jobs?state=running", "").into(t, &list)
	if len(list.Items) != 1 || list.Next != "" {
		t.Errorf("%+v", list)
	}
	var why job.Explanation
	h.as("vic", "GET", "/api/v1/jobs/1/why", "").into(t, &why)
	if !strings.Contains(why.Summary, "running") {
		t.Errorf("%+v", why)
	}
	if a := h.as("eve", "POST", "/api/v1/jobs/1/cancel", ""); a.code != http.StatusForbidden {
		t.Errorf("somebody else's job: %d %s", a.code, a.body)
	}
	h.as("dan", "POST", "/api/v1/jobs/1/cancel?dry_run=true", "").into(t, &j)
	if j.State != job.Running {
		t.Errorf("a dry run canceled it: %s", j.State)
	}
	h.as("dan", "POST", "/api/v1/jobs/1/cancel", "").into(t, &j)
	h.await(j.ID, job.Canceled)
	h.as("dan", "POST", "/api/v1/jobs/1/retry", "").into(t, &j)
	h.await(j.ID, job.Running)
}

func TestALogIsFollowedUntilTheTaskEnds(t *testing.T) {
	h := newHall(t)
	j := h.await(h.submit("dan", sleeper).ID, job.Running)
	ref := job.TaskRef(j, j.Tasks[0])
	h.machine.log(ref).write("one\n")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/api/v1/jobs/1/logs?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens["vic"])
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"one", "two", "three"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
		switch want {
		case "one":
			h.machine.log(ref).write("two\n")
		case "two":
			h.machine.log(ref).write("three\n")
			h.machine.exit(ref, 0)
		}
	}
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("it goes on: %q, %v", lines.Text(), lines.Err())
	}
	if a := h.as("vic", "GET", "/api/v1/jobs/1/logs?offset=4", ""); a.body != "two\nthree\n" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%+v", a)
	}
}

func TestListsComeInPages(t *testing.T) {
	h := newHall(t)
	for range 5 {
		h.submit("dan", sleeper)
	}
	var got []job.ID
	for after := ""; ; {
		var page api.Page[job.Job]
		h.as("ann", "GET", "/api/v1/jobs?limit=2&after="+after, "").into(t, &page)
		for _, j := range page.Items {
			got = append(got, j.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(got) != 5 || got[0] != 5 || got[4] != 1 {
		t.Errorf("%v", got)
	}
}
