// Package io says where Argo CD's git code would write; nothing here does.
package io

import "os"

var TempDir = os.TempDir()
