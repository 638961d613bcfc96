module github.com/kubeflow/trainer/v2

go 1.26.0
