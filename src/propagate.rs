//! Label propagation: soft labels carried from context frames to a new one by feature similarity, in a local window.
