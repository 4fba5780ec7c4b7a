"""The model contract and its adapters: ONNX files and predictions made elsewhere."""
