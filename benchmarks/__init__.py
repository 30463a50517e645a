"""What the mesh costs and how fast it is, measured through its public interface."""
