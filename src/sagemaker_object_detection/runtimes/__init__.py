"""A trained model for other runtimes: TensorFlow Lite on phones and boards, ONNX on servers."""
