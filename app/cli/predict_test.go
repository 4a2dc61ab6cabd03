package cli

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// stroke draws a vertical stroke of ink on paper.
func stroke(t *testing.T, width, height int, paper, ink uint8) string {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = paper
	}
	for y := height / 4; y < height*3/4; y++ {
		for x := width / 8; x < width/4; x++ {
			img.SetGray(x, y, color.Gray{Y: ink})
		}
	}
	file := filepath.Join(t.TempDir(), "a.png")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAPictureBecomesBrightInkInTheMiddleOfDarkPaper(t *testing.T) {
	o := predictFlags{size: "28x28", invert: "auto"}
	for _, file := range []string{stroke(t, 200, 400, 255, 0), stroke(t, 90, 60, 10, 240), stroke(t, 40, 40, 250, 30)} {
		row, err := o.picture(file)
		if err != nil || len(row) != 784 {
			t.Fatalf("%d values, %v", len(row), err)
		}
		var sum, sx, sy float64
		for i, v := range row {
			sum, sx, sy = sum+v, sx+v*float64(i%28), sy+v*float64(i/28)
		}
		if cx, cy := sx/sum, sy/sum; math.Abs(cx-13.5) > 1 || math.Abs(cy-13.5) > 1 {
			t.Errorf("the ink's centre is at %.1f, %.1f", cx, cy)
		}
		if row[0] > 0.1 || row[14*28+13] < 0.5 {
			t.Errorf("paper %.2f, ink %.2f", row[0], row[14*28+13])
		}
	}
	dark, err := o.picture(stroke(t, 28, 28, 0, 255))
	if err != nil || dark[0] != 0 || dark[14*28+5] != 1 {
		t.Errorf("a picture of the model's own size is taken as it is: %v, %v", dark[14*28+5], err)
	}
}

func TestWhatIsNoPictureIsRefusedInWords(t *testing.T) {
	text := filepath.Join(t.TempDir(), "a.png")
	if err := os.WriteFile(text, []byte("no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := predictFlags{size: "28x28", invert: "auto"}
	if _, err := o.picture(text); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "no PNG") {
		t.Error(err)
	}
	o.size = "28"
	if _, err := o.picture(text); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "28x28") {
		t.Error(err)
	}
}

func TestAnswersAreClassesOnlyWhereTheyAreSharesOfAWhole(t *testing.T) {
	first, second, share, next, ok := classes(json.RawMessage(`[0.1, 0.7, 0.2]`))
	if !ok || first != 1 || second != 2 || share != 0.7 || next != 0.2 {
		t.Error(first, second, share, next, ok)
	}
	if first, second, _, _, ok := classes(json.RawMessage(`[0.9, 0.1]`)); !ok || first != 0 || second != 1 {
		t.Error(first, second)
	}
	for _, raw := range []string{`[1, 2]`, `[-0.5, 1.5]`, `[1]`, `3`, `{"a": 1}`} {
		if _, _, _, _, ok := classes(json.RawMessage(raw)); ok {
			t.Errorf("%s: taken for classes", raw)
		}
	}
}
