// Lets the compiler take the declarations in main.go whose bodies are in another package.
