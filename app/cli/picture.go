package cli

import (
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // a format that --image reads
	_ "image/jpeg" // a format that --image reads
	_ "image/png"  // a format that --image reads
	"io"
	"math"
	"os"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file turns a picture into a row of a model for handwriting.

// picture is the file's grey values row by row.
func (o *predictFlags) picture(file string) ([]float64, error) {
	const op = "cli.picture"
	var width, height int
	if n, err := fmt.Sscanf(o.size, "%dx%d", &width, &height); n != 2 || err != nil || width < 1 || height < 1 || width > 4096 || height > 4096 {
		return nil, errs.Errorf(op, errs.Invalid, "--size %q: write WIDTHxHEIGHT, for example 28x28", o.size)
	}
	if err := oneOf("--invert", o.invert, "auto", "yes", "no"); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fileError(op, err)
	}
	defer f.Close()
	cfg, kind, err := image.DecodeConfig(f)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "%s is no PNG, JPEG or GIF picture: %v", file, err)
	}
	if cfg.Width*cfg.Height > 64<<20 {
		return nil, errs.Errorf(op, errs.TooLarge, "%s is %d × %d pixels: make it smaller first", file, cfg.Width, cfg.Height)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fileError(op, err)
	}
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, errs.Errorf(op, errs.Corrupt, "%s is damaged (%s): %v", file, kind, err)
	}
	g := grey(img)
	if o.invert == "yes" || o.invert == "auto" && g.border() > 0.5 {
		g.invert()
	}
	if g.width == width && g.height == height {
		return g.values, nil
	}
	return g.centred(width, height).values, nil
}

// shade is a picture of grey values from 0 to 1.
type shade struct {
	width, height int
	values        []float64
}

func grey(img image.Image) *shade {
	b := img.Bounds()
	g := &shade{b.Dx(), b.Dy(), make([]float64, 0, b.Dx()*b.Dy())}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c, _ := color.Gray16Model.Convert(img.At(x, y)).(color.Gray16)
			g.values = append(g.values, float64(c.Y)/0xffff)
		}
	}
	return g
}

// border is the mean of the outermost pixels: the paper's.
func (g *shade) border() float64 {
	sum, n := 0.0, 0
	for y := range g.height {
		for x := range g.width {
			if x == 0 || y == 0 || x == g.width-1 || y == g.height-1 {
				sum, n = sum+g.values[y*g.width+x], n+1
			}
		}
	}
	return sum / float64(max(1, n))
}

func (g *shade) invert() {
	for i, v := range g.values {
		g.values[i] = 1 - v
	}
}

// ink is how bright a pixel is that counts as drawn.
const ink = 0.15

// centred scales the picture so that its ink fills 20 of 28 parts, as the digits of MNIST do, and puts the ink's centre
// of mass into the middle.
func (g *shade) centred(width, height int) *shade {
	left, top, right, bottom := g.width, g.height, 0, 0
	for y := range g.height {
		for x := range g.width {
			if g.values[y*g.width+x] > ink {
				left, right, top, bottom = min(left, x), max(right, x+1), min(top, y), max(bottom, y+1)
			}
		}
	}
	out := &shade{width, height, make([]float64, width*height)}
	if left >= right {
		return out
	}
	scale := max(float64(right-left)/(float64(width)*20/28), float64(bottom-top)/(float64(height)*20/28))
	cx, cy := g.centre()
	for y := range height {
		for x := range width {
			fx, fy := cx+(float64(x)-float64(width)/2)*scale, cy+(float64(y)-float64(height)/2)*scale
			out.values[y*width+x] = g.mean(fx, fy, fx+scale, fy+scale)
		}
	}
	return out
}

func (g *shade) centre() (x, y float64) {
	var sum, sx, sy float64
	for i, v := range g.values {
		if v > ink {
			sum, sx, sy = sum+v, sx+v*(float64(i%g.width)+0.5), sy+v*(float64(i/g.width)+0.5)
		}
	}
	return sx / sum, sy / sum
}

// mean is the mean over a rectangle, each pixel by the part of it within; outside there is paper.
func (g *shade) mean(x0, y0, x1, y1 float64) float64 {
	sum := 0.0
	for y := max(0, int(math.Floor(y0))); y < min(g.height, int(math.Ceil(y1))); y++ {
		h := min(y1, float64(y+1)) - max(y0, float64(y))
		for x := max(0, int(math.Floor(x0))); x < min(g.width, int(math.Ceil(x1))); x++ {
			sum += g.values[y*g.width+x] * h * (min(x1, float64(x+1)) - max(x0, float64(x)))
		}
	}
	return sum / ((x1 - x0) * (y1 - y0))
}
