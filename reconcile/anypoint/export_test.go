package anypoint

import "path/filepath"

// Steps are the single writes of Write or Rewrite, in their order, for who wants to end in the middle.
func (f *File) Steps(dir string, split bool) (n int, step func(int) error, err error) {
	path := filepath.Join(dir, FileName)
	parts, err := f.parts(path, split)
	if err != nil {
		return 0, nil, err
	}
	steps := f.steps(path, parts)
	return len(steps), func(i int) error { return put(steps[i]) }, nil
}
