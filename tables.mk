# Tables and figures of the papers. Generated: `python -m vaebench.reproduce --make > tables.mk`.
TABLES := all
all: ## all tables and figures below, with TIER=full|reduced|smoke SEEDS=0,1,2 JOBS=1
TABLES += fae fae-table1 fae-fig1 fae-fig2 fae-fig3
fae: ## Zheng, Yao, Zhang, Tsang & Wang, AAAI 2019, arXiv 1807.03723
fae-table1: ## Table 1: test NLL on MNIST (full 2 days (a GPU 2 h), reduced 40 min, smoke 30 s)
fae-fig1: ## Figure 1: models in the Fisher-Shannon plane, and the path of a FAE through training (full as table1, reduced as table1, smoke 30 s)
fae-fig2: ## Figure 2: codes and their distances, for F from 20 to 0 (full 4 h, reduced 15 min, smoke 2 min)
fae-fig3: ## Figure 3: reconstructions with a large and a small F, MNIST and SVHN (full 6 h, reduced 10 min, smoke 4 min)
TABLES += propagation propagation-fig1
propagation: ## Rudolph, Fadel, Mair & Brefeld, extended abstract
propagation-fig1: ## Figure 1: KL and mutual information after each decoder layer (full 20 min, reduced 4 min, smoke 5 s)
TABLES += scvae scvae-table1 scvae-table2 scvae-fig1 scvae-fig2 scvae-fig3 scvae-fig4 scvae-fig5
scvae: ## Zheng, Yao, Zhang & Tsang, 2018, arXiv 1802.06677
scvae-table1: ## Table 1: test NLL and accuracy of a linear SVM on MNIST (full 3 h to 2 days, reduced 1 h, smoke 20 s)
scvae-table2: ## Table 2: SCVAE with PixelVAE and VampPrior (full a week (a GPU 2 h), reduced 2 h, smoke 30 s)
scvae-fig1: ## Figure 1: codes and reconstructions of shallow and deep VAEs (full as table1, reduced as table1, smoke 15 s)
scvae-fig2: ## Figure 2: mean Fisher information by depth (full 2 days, reduced 2.5 h, smoke 50 s)
scvae-fig3: ## Figure 3: mean Fisher information of encoder and decoder (full as table1, reduced as table1, smoke 20 s)
scvae-fig4: ## Figure 4: layers of the encoder, codes and reconstructions of the deep models (full as table1, reduced as table1, smoke 20 s)
scvae-fig5: ## Figure 5: mean Fisher information with PixelVAE and VampPrior (full as table2, reduced as table2, smoke 30 s)
TABLES += skipvae skipvae-table1 skipvae-table2 skipvae-table3 skipvae-table4 skipvae-probe skipvae-fig1 skipvae-fig2
skipvae: ## Dieng, Kim, Rush & Blei, AISTATS 2019, arXiv 1807.04863
skipvae-table1: ## Table 1: MNIST, gated PixelCNN of nine layers, by the number of latent units (full 1 week (a GPU 1.5 h), reduced 2.5 h, smoke 50 s)
skipvae-table2: ## Table 2: 20 latent units, by the depth of the gated PixelCNN (full 10 days (a GPU 2 h), reduced 3 h, smoke 60 s)
skipvae-table3: ## Table 3: MNIST, multilayer perceptrons, 50 latent units, by the depth of the decoder (full 1 h, reduced 15 min, smoke 15 s)
skipvae-table4: ## Table 4: Yahoo Answers (full 1 year (a GPU 4 days), reduced 3.5 h, smoke 60 s)
skipvae-probe: ## Section 4.1: accuracy of a classifier on 50-dimensional posterior means (full 2 days (a GPU 20 min), reduced 45 min, smoke 15 s)
skipvae-fig1: ## Figure 1, right: mutual information and KL by depth, MNIST (full as table2, reduced as table2, smoke 40 s)
skipvae-fig2: ## Figure 2: t-SNE of the codes of VAE and SKIP-VAE, 50 latent units (full as probe, reduced as probe, smoke 10 s)
TABLES += zhao zhao-fig2 zhao-fig4 zhao-fig5 zhao-fig6
zhao: ## Zhao, Song & Ermon, 2017, arXiv 1702.08658
zhao-fig2: ## Figure 2: Var[x given z] over a 2-D latent space (full 6 min, reduced 5 min, smoke 20 s)
zhao-fig4: ## Figure 4: samples of the sequential VAE, step by step (full 1 month (a GPU 2 h), reduced 1 h, smoke 60 s)
zhao-fig5: ## Figure 5: MNIST, PixelCNN, with and without regularisation (full 1 day (a GPU 30 min), reduced 2.5 h, smoke 30 s)
zhao-fig6: ## Figure 6: CIFAR-10, PixelCNN++, with and without regularisation (full 3 months (a GPU 4 h), reduced 40 min, smoke 60 s)
