module github.com/argoproj/argo-cd/gitops-engine

go 1.26.0
