/** Where a specification may start from. */
export const samples = {
  train: `name: mnist
kind: train
data: [mnist]
train:
  preprocess: {scale: 255}
  layers:
    - {type: dense, units: 512, activation: relu}
    - {type: dropout, rate: 0.2}
    - {type: dense, units: 512, activation: relu}
    - {type: dropout, rate: 0.2}
    - {type: dense, units: 10, activation: softmax}
  optimizer: {type: adam, learning_rate: 0.001}
  loss: categorical_crossentropy
  metrics: [accuracy]
  batch: 128
  epochs: 20
  seed: 1
resources: {cpu: 2, memory: 1GiB}
retries: 2
register: mnist
`,
  command: `name: hello
kind: command
command: [sh, -c, "echo hello from $(hostname); sleep 5"]
resources: {cpu: 0.5, memory: 64MiB}
timeout: 10m
`,
  service: `name: web
kind: service
command: [python3, -m, http.server, "9000"]
tasks: 1
resources: {cpu: 0.5, memory: 128MiB}
`,
};
