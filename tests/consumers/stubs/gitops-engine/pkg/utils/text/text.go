// Package text has the one function that Argo CD's git code calls.
package text

func FirstNonEmpty(args ...string) string {
	for _, arg := range args {
		if arg != "" {
			return arg
		}
	}
	return ""
}
