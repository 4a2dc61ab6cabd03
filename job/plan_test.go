package job_test

import (
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/job"
)

func TestThePlanTellsWhoRunsUntilWhenAndWhoWaits(t *testing.T) {
	h := newHall(t)
	spec := command("whole")
	spec.Resources.CPU, spec.Timeout = 4, job.Duration(time.Hour)
	first := h.submit(spec)
	h.state(first.ID, job.Running)
	spec.Name = "next"
	second := h.submit(spec)
	v, err := h.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Running) != 1 || v.Running[0].Job != first.ID || v.Running[0].Placements[0].Node != "here" ||
		v.Running[0].Until == nil || v.Running[0].Until.Sub(*v.Running[0].Since) != time.Hour {
		t.Errorf("running: %+v", v.Running)
	}
	if len(v.Waiting) != 1 || v.Waiting[0].Job != second.ID || v.Waiting[0].Position != 1 || v.Waiting[0].Queue != "default" ||
		v.Waiting[0].Earliest == nil || v.Waiting[0].Earliest.After(v.Now.Add(time.Hour)) {
		t.Errorf("waiting: %+v", v.Waiting)
	}
	if len(v.Queues) != 1 || v.Queues[0].Share != 1 || v.Queues[0].Running != 1 || v.Queues[0].Waiting != 1 || v.Queues[0].Held.CPU != 4 {
		t.Errorf("queues: %+v", v.Queues)
	}
	if v.Appraisal != nil {
		t.Errorf("appraised without a solver: %+v", v.Appraisal)
	}
}
